"""The clock was set back while the service was down: what it stored lies in the future."""

import json

import apsw
import pytest

from tests.behaviour.conftest import StartService, only_on
from tests.conversation import assert_unlocked, eventually, waiting_run
from tests.scripted_model import Script
from tests.service import Service

DAY = 86_400


def in_the_file(service: Service, run_id: str) -> dict[str, object]:
    connection = apsw.Connection(str(service.data / "assistants.db"), flags=apsw.SQLITE_OPEN_READONLY)
    [(body,)] = connection.execute("SELECT body FROM documents WHERE id = ?", (run_id,)).fetchall()
    connection.close()
    return json.loads(str(body))["resource"]


def put_off(service: Service, run_id: str, seconds: int) -> None:
    """Make the run one that was created so much later."""
    connection = apsw.Connection(str(service.data / "assistants.db"))
    [(text,)] = connection.execute("SELECT body FROM documents WHERE id = ?", (run_id,)).fetchall()
    body = json.loads(str(text))
    for member in ("created_at", "started_at", "expires_at"):
        body["resource"][member] += seconds
    connection.execute(
        "UPDATE documents SET body = ?, unfinished_since = unfinished_since + ? WHERE id = ?",
        (json.dumps(body), seconds, run_id),
    )
    connection.close()


@only_on("local")
@pytest.mark.parametrize("read", [True, False])
def test_a_run_of_the_future_expires_and_frees_its_thread(
    start_service: StartService, model: Script, read: bool
) -> None:
    service = start_service(settings={"RUN_LIFETIME_SECONDS": "4"})
    client = service.openai()
    run = waiting_run(client, model)
    service.kill()
    put_off(service, run.id, DAY)
    service.start()
    if read:
        eventually(
            lambda: client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id).status == "expired", timeout=20
        )
    else:  # the sweeper's alone
        eventually(lambda: in_the_file(service, run.id)["status"] == "expired", timeout=30)
    assert_unlocked(client, run.thread_id)
