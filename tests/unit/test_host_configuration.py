"""What the app takes from the Functions host's configuration."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hosting.configuration import HostConfiguration
from settings import SettingsError

ROOT = Path(__file__).parents[2]


def read(folder: Path, host_json: Any = None, **environment: str) -> HostConfiguration:
    path = folder / "host.json"
    if host_json is not None:
        path.write_text(host_json if isinstance(host_json, str) else json.dumps(host_json), encoding="utf-8")
    return HostConfiguration.read(environment, path)


def test_without_a_word_it_is_the_hosts_defaults(tmp_path: Path):
    assert read(tmp_path) == HostConfiguration(104_857_600, 1_800.0, "AzureStorage")
    assert read(tmp_path, {"version": "2.0"}) == HostConfiguration()


def test_what_is_shipped_says_half_an_hour_and_the_scheduler():
    shipped = HostConfiguration.read({}, ROOT / "host.json")
    assert json.loads((ROOT / "host.json").read_text())["functionTimeout"] == "00:30:00"
    assert shipped == HostConfiguration(104_857_600, 1_800.0, "azureManaged")
    assert shipped.time_limit == 1_740.0
    assert shipped.form_limit == 103_857_600


def test_what_is_shipped_lets_an_instance_hold_many_runs_at_once():
    durable = json.loads((ROOT / "host.json").read_text())["extensions"]["durableTask"]
    assert durable["maxConcurrentActivityFunctions"] == durable["maxConcurrentOrchestratorFunctions"] == 200


def test_what_is_shipped_lets_a_request_write_two_lines_and_every_warning():
    levels: dict[str, str] = json.loads((ROOT / "host.json").read_text())["logging"]["logLevel"]
    assert levels["Function"] == levels["default"] == "Information"
    for category in (
        "Microsoft.Azure.WebJobs.Script.WebHost.Middleware",
        "Worker",
        "Host.Function.Console",
        "azure_functions_runtime",
    ):
        assert levels[category] == "Warning"
    assert set(levels.values()) == {"Information", "Warning"}, "nothing hides a failure"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("00:30:00", 1_800),
        ("0:00:05", 5),
        ("23:59:59", 86_399),
        ("1.00:00:00", 86_400),
        ("10.01:02:03", 867_723),
        ("00:00:01.5", 1.5),
        ("-1", math.inf),
        (-1, math.inf),
    ],
)
def test_the_timeout_is_read_as_the_host_reads_it(tmp_path: Path, given: Any, seconds: float):
    assert read(tmp_path, {"functionTimeout": given}).function_timeout == seconds
    assert read(tmp_path, {"FunctionTimeout": given}).function_timeout == seconds


@pytest.mark.parametrize(
    "given", ["", "soon", "30", 30, "00:60:00", "24:00:00", "00:00:00", "-2", None, {}, "-00:30:00", True]
)
def test_a_broken_timeout_is_refused_by_its_name(tmp_path: Path, given: Any):
    if given is None:
        assert read(tmp_path, {"functionTimeout": None}).function_timeout == 1_800
        return
    with pytest.raises(SettingsError, match="functionTimeout"):
        read(tmp_path, {"functionTimeout": given})


@pytest.mark.parametrize("name", ["AzureFunctionsJobHost__functionTimeout", "AZUREFUNCTIONSJOBHOST__FUNCTIONTIMEOUT"])
def test_the_environment_wins(tmp_path: Path, name: str):
    assert read(tmp_path, {"functionTimeout": "00:30:00"}, **{name: "00:05:00"}).function_timeout == 300
    assert read(tmp_path, {"functionTimeout": "00:30:00"}, **{name: ""}).function_timeout == 1_800
    with pytest.raises(SettingsError, match="functionTimeout"):
        read(tmp_path, **{name: "five minutes"})
    provider = {"AzureFunctionsJobHost__extensions__durableTask__storageProvider__type": "mssql"}
    given = {"extensions": {"durableTask": {"storageProvider": {"type": "azureManaged"}}}}
    assert read(tmp_path, given).purges_its_hub
    assert not read(tmp_path, given, **provider).purges_its_hub


@pytest.mark.parametrize(
    ("seconds", "limit"), [(math.inf, None), (1_800, 1_740), (300, 240), (60, 48), (5, 4), (1, 0.8)]
)
def test_an_invocation_ends_itself_a_minute_before_or_a_fifth_of_a_short_time(seconds: float, limit: float | None):
    assert HostConfiguration(function_timeout=seconds).time_limit == limit


@pytest.mark.parametrize("given", ["100 MB", "1e9", "-1", "0", "1000", "1.5", "9" * 30, "\u0663000000"])
def test_a_broken_body_limit_is_refused_by_its_name(tmp_path: Path, given: str):
    with pytest.raises(SettingsError, match="FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"):
        read(tmp_path, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=given)


def test_a_body_limit_is_read(tmp_path: Path):
    read_limit = read(tmp_path, FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=" 537919488 ")
    assert (read_limit.body_limit, read_limit.form_limit) == (537_919_488, 536_919_488)


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_broken_host_json_is_refused(tmp_path: Path, content: str):
    with pytest.raises(SettingsError, match=r"host\.json"):
        read(tmp_path, content)


def test_sections_of_another_shape_are_as_if_they_were_not_there(tmp_path: Path):
    assert read(tmp_path, {"extensions": [1]}).storage_provider == "AzureStorage"
    assert read(tmp_path, "\ufeff{}") == HostConfiguration()
