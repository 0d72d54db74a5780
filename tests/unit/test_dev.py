"""dev.py: finds a Python, installs what is missing, says what it cannot do. And the files that it installs from."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import dev
from devhost.environment import prepared
from settings import Settings

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in interpreters are shell scripts")


def interpreter(folder: Path, says: str, name: str = "python3.13") -> str:
    """A stand-in for a Python that answers the probe with a text, or with failure."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\n{says}\n")
    script.chmod(0o755)
    return str(script)


def answering(version: list[int], makes_venvs: bool = True) -> str:
    return f"echo '{json.dumps([version, makes_venvs])}'"


@posix_only
def test_a_version_managers_shim_that_only_fails_is_passed_over(tmp_path):
    shim = interpreter(tmp_path / "shims", "echo 'command not found' >&2; exit 127")
    real = interpreter(tmp_path / "bin", answering([3, 13, 1]))
    assert dev.find_python([[shim], [real]]).command == (real,)


@posix_only
def test_3_13_is_preferred_to_a_newer_one_and_an_older_one_is_never_taken(tmp_path):
    old = interpreter(tmp_path / "old", answering([3, 12, 9]))
    new = interpreter(tmp_path / "new", answering([3, 14, 0]))
    exact = interpreter(tmp_path / "exact", answering([3, 13, 0]))
    assert dev.find_python([[old], [new], [exact]]).command == (exact,)
    assert dev.find_python([[old], [new]]).command == (new,)
    with pytest.raises(dev.SetupError, match=r"^Python 3\.13 is needed and was not found\."):
        dev.find_python([[old], ["/nowhere/python3.13"]])


@posix_only
def test_a_python_that_cannot_make_environments_is_named_with_what_it_lacks(tmp_path):
    crippled = interpreter(tmp_path, answering([3, 13, 0], makes_venvs=False))
    with pytest.raises(dev.SetupError, match=f"^{re.escape(crippled)} lacks the modules venv and ensurepip"):
        dev.find_python([[crippled]])


@posix_only
def test_looks_at_the_named_python_first_then_along_the_path_then_in_pyenv(tmp_path):
    on_path = interpreter(tmp_path / "bin", "exit 1")
    in_pyenv = interpreter(tmp_path / "pyenv" / "versions" / "3.13.7" / "bin", "exit 1", name="python")
    environment = {"PYTHON": "/my/python", "PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path / "pyenv")}
    found = [command[0] for command in dev.candidates(environment)]
    assert found[0] == "/my/python"
    assert found.index(on_path) < found.index(in_pyenv)


def test_this_very_python_is_found():
    found = dev.find_python([[sys.executable]])
    assert found.version[:2] >= (3, 13)


def test_what_is_installed_is_not_installed_again_until_a_file_changes(tmp_path, monkeypatch):
    (tmp_path / "constraints.txt").write_text("a==1\n")
    (tmp_path / "wanted.txt").write_text("-c constraints.txt\na\n")
    installed: list[str] = []
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "STAMPS", tmp_path / "stamps.json")
    monkeypatch.setattr(dev, "watch", lambda what, command: installed.append(what))
    wanted = dev.Requirements(tmp_path / "wanted.txt")

    dev.install(wanted)
    dev.install(wanted)
    assert installed == ["Installing wanted.txt"]

    (tmp_path / "constraints.txt").write_text("a==2\n")
    dev.install(wanted)
    assert len(installed) == 2


@pytest.mark.parametrize(
    ("environment", "values", "expected"),
    [
        ({}, None, False),
        ({"MODEL_BASE_URL": " "}, {}, False),
        ({"MODEL_BASE_URL": "http://localhost:1/v1"}, None, True),
        ({}, {"MODEL_AZURE_ENDPOINT": "https://x.example"}, True),
        ({}, {"MODEL_AZURE_ENDPOINT": ""}, False),
    ],
)
def test_a_named_model_is_seen_in_the_environment_and_in_local_settings(tmp_path, environment, values, expected):
    file = tmp_path / "local.settings.json"
    if values is not None:
        file.write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    assert dev.model_is_set(environment, file) is expected


def test_broken_local_settings_are_one_clear_line(tmp_path):
    file = tmp_path / "local.settings.json"
    file.write_text("{")
    with pytest.raises(dev.SetupError, match=r"^local\.settings\.json is not valid JSON with a 'Values' object\.$"):
        dev.model_is_set({}, file)


def test_a_data_folder_is_meant_from_where_the_person_is(tmp_path):
    assert dev.absolute_data_dir(["--data", "here"], tmp_path) == ["--data", str(tmp_path / "here")]
    assert dev.absolute_data_dir(["--port", "1", "--data=here"], tmp_path) == [
        "--port",
        "1",
        f"--data={tmp_path / 'here'}",
    ]


def test_a_failed_step_shows_its_errors_and_one_line(capsys):
    command = [sys.executable, "-c", "print('much'); print('ERROR: no such version'); raise SystemExit(1)"]
    with pytest.raises(dev.SetupError, match=r"^Installing x failed"):
        dev.watch("Installing x", command)
    assert capsys.readouterr().err == "ERROR: no such version\n"


def test_without_arguments_it_prints_its_help_and_an_unknown_command_is_one_line():
    def outcome(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, dev.__file__, *arguments], capture_output=True, text=True, timeout=60)

    assert "dev.py up" in outcome().stdout
    refused = outcome("upp")
    assert refused.returncode == 1
    assert refused.stderr == "dev.py: 'upp' is not a command; known are up, packages, test, lint, soak, bench.\n"


def test_it_starts_on_python_3_9():
    ast.parse(Path(dev.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("file", sorted(dev.ROOT.glob("requirements*.txt")), ids=lambda file: file.name)
def test_every_requirement_is_pinned_exactly(file):
    text = re.sub(r" \\\n +--hash=sha256:[0-9a-f]{64}", "", file.read_text(encoding="utf-8"))
    lines = [line.split(";")[0].strip() for line in text.splitlines()]
    for line in lines:
        assert not line or line.startswith(("#", "-r ", "-c ")) or re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line), line


def test_every_dependency_is_explained():
    explained = (dev.ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for file in dev.ROOT.glob("requirements*.txt"):
        for name in re.findall(r"^([a-z0-9-]+)==", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"**{name}**" in explained, name


def test_the_example_names_every_setting():
    example = json.loads((dev.ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]
    assert {field.name.upper() for field in fields(Settings)} <= set(example)


def test_nothing_that_is_shipped_widens_what_the_host_takes(tmp_path):
    """Whoever needs it sets it, together with the size of an instance."""
    example = json.loads((dev.ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]
    with prepared(dev.ROOT, tmp_path, outside={}) as environment:
        shipped = example | environment.variables
    assert "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT" not in shipped


@pytest.mark.parametrize(
    "lock", sorted(dev.NODE_PACKAGES.glob("*/package-lock.json")), ids=lambda lock: lock.parent.name
)
def test_a_lock_file_names_no_registry(lock):
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
