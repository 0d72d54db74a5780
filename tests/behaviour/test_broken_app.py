"""An app that doesn't load in Azure says so, instead of 404 with an empty body for everything."""

import json
from pathlib import Path

import pytest

from tests.worker_bed.process import WorkerBed
from tests.worker_bed.proxy import Proxy

AZURE = {
    "WEBSITE_SITE_NAME": "site",
    "COSMOS_ENDPOINT": "https://account.documents.azure.com",
    "BLOB_ENDPOINT": "https://account.blob.core.windows.net",
}
SECRET = "not-a-number-but-a-secret"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"RUN_LIFETIME_SECONDS": SECRET}, "RUN_LIFETIME_SECONDS"),
        ({"COSMOS_ENDPOINT": ""}, "COSMOS_ENDPOINT, BLOB_ENDPOINT"),
        ({"COSMOS_KEY": SECRET}, "COSMOS_KEY"),
        ({"BLOB_ENDPOINT": SECRET}, "BLOB_ENDPOINT"),
        ({"AzureFunctionsJobHost__functionTimeout": SECRET}, "functionTimeout"),
        ({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": SECRET}, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"),
    ],
)
async def test_a_broken_setting_is_named_but_not_its_value(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    with WorkerBed(tmp_path, AZURE | settings) as bed:
        assert [function["name"] for function in bed.functions] == ["get_health", "zz_broken"]
        proxy = Proxy(bed)
        health = await proxy.send("GET", "/openai/health")
        assert (health.status, json.loads(health.body)) == (503, {"status": "broken", "reason": reason})
        for method, target in (
            ("GET", "/openai/assistants"),
            ("POST", "/openai/v1/threads"),
            ("DELETE", "/openai/x/y"),
        ):
            reply = await proxy.send(method, target)
            error = json.loads(reply.body)["error"]
            assert (reply.status, error["type"], error["code"]) == (503, "server_error", None)
            assert SECRET.encode() not in reply.body
        critical = [entry for entry in bed.state()["logged"] if entry[1] == "CRITICAL"]
        assert len(critical) == 1
        await proxy.close()


@pytest.mark.parametrize("module", ["openai", "azurefunctions.extensions.http.fastapi", "fastapi", "durabletask"])
async def test_an_import_that_fails_is_told_without_its_text(tmp_path: Path, module: str) -> None:
    with WorkerBed(tmp_path, AZURE | {"WORKER_BED_BREAKS_IMPORT": module}) as bed:
        assert [function["name"] for function in bed.functions] == ["get_health", "zz_broken"]
        if bed.worker_port:
            proxy = Proxy(bed)
            health = await proxy.send("GET", "/openai/health")
            assert (health.status, json.loads(health.body)) == (503, {"status": "broken", "reason": "import"})
            await proxy.close()
        else:
            answer = bed.invoke_plainly("get_health")
            assert (answer["status"], json.loads(answer["body"])) == (503, {"status": "broken", "reason": "import"})


def test_elsewhere_the_host_says_what_is_wrong(tmp_path: Path) -> None:
    bed = WorkerBed(tmp_path, {"RUN_LIFETIME_SECONDS": SECRET})
    with pytest.raises(AssertionError, match="RUN_LIFETIME_SECONDS"):
        bed.start()
    bed.stop()
