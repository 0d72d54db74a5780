"""The code interpreter through HTTP: code in the real sandbox, files in and out (F.6, G.1, N.11)."""

import csv
import io
import struct
import sys
import zipfile
from collections.abc import Iterator
from itertools import groupby
from typing import Any, override

import pytest
from openai import AssistantEventHandler, OpenAI
from openai.types.beta.threads import (
    FilePathAnnotation,
    ImageFile,
    ImageFileContentBlock,
    Message,
    Text,
    TextContentBlock,
    TextDelta,
)
from openai.types.beta.threads.runs import CodeInterpreterToolCall, ToolCall, ToolCallDelta, ToolCallsStepDetails

from tests.clients.runner import node_client
from tests.conversation import WEATHER, assistant_id, outputs_of, run_when, thread_with
from tests.event_stream import EventStream, open_stream
from tests.scripted_model import Script
from tests.service import Service

CODE: Any = {"type": "code_interpreter"}
SALES = b"region,amount\nnorth,10\nsouth,32\n"
REPORT = """
import pandas as pd, matplotlib.pyplot as plt
sales = pd.read_csv('/mnt/data/sales.csv')
sales.plot.bar(x='region', y='amount')
plt.title('Sales 売上')
plt.show()
sales.assign(share=sales.amount / sales.amount.sum()).to_excel('/mnt/data/report.xlsx', index=False)
print(sales.amount.sum())
"""


@pytest.fixture
def service(code_service: Service) -> Iterator[Service]:
    began_at = code_service.log_path.stat().st_size
    yield code_service
    sys.stderr.write(code_service.log(after=began_at))


def upload(client: OpenAI, content: bytes, name: str, purpose: Any = "assistants") -> str:
    return client.files.create(file=(name, content), purpose=purpose).id


def answered(client: OpenAI, model: Script, thread_id: str, *codes: str, say: str = "Done.", **run: Any) -> str:
    """Have a run call these codes and then say something; return its id."""
    for code in codes:
        model.will_call("code_interpreter", code=code)
    model.will_say(say)
    assistant = assistant_id(client, model, tools=[CODE])
    done = client.beta.threads.runs.create_and_poll(thread_id=thread_id, assistant_id=assistant, **run)
    assert done.status == "completed", done.last_error
    return done.id


def code_calls(client: OpenAI, thread_id: str, run_id: str) -> list[CodeInterpreterToolCall]:
    steps = client.beta.threads.runs.steps.list(run_id, thread_id=thread_id, order="asc")
    details = [step.step_details for step in steps if isinstance(step.step_details, ToolCallsStepDetails)]
    return [call for each in details for call in each.tool_calls if isinstance(call, CodeInterpreterToolCall)]


def logs(client: OpenAI, thread_id: str, run_id: str) -> list[str]:
    outputs = [output for call in code_calls(client, thread_id, run_id) for output in call.code_interpreter.outputs]
    return [output.logs for output in outputs if output.type == "logs"]


def system_context(model: Script) -> str:
    first = model.requests[-1]["messages"][0]
    return first["content"] if first["role"] == "system" else ""


def last_text(client: OpenAI, thread_id: str) -> TextContentBlock:
    newest = client.beta.threads.messages.list(thread_id).data[0]
    return next(part for part in newest.content if isinstance(part, TextContentBlock))


def test_a_csv_in_and_a_chart_and_a_workbook_out(client: OpenAI, model: Script):
    model.will_call("code_interpreter", code=REPORT)
    model.will_say("42 in all: [the report](sandbox:/mnt/data/report.xlsx).")
    file_id = upload(client, SALES, "sales.csv")
    attached: Any = {"file_id": file_id, "tools": [CODE]}
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "A report!", "attachments": [attached]}])
    assistant = assistant_id(client, model, tools=[CODE], instructions="Be brief.")
    with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant) as stream:
        names = [event.event.removeprefix("thread.") for event in stream]
        [message] = stream.get_final_messages()
    assert [name for name, _ in groupby(names)] == [
        "run.created", "run.queued", "run.in_progress",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.completed",
        "run.step.created", "run.step.in_progress", "message.created", "message.in_progress",
        "message.delta", "message.completed", "run.step.completed", "run.completed",
    ]  # fmt: skip
    chart, text = message.content
    assert isinstance(chart, ImageFileContentBlock) and isinstance(text, TextContentBlock)
    png = client.files.content(chart.image_file.file_id).read()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert min(struct.unpack(">II", png[16:24])) > 300
    [link] = text.text.annotations
    assert isinstance(link, FilePathAnnotation)
    assert text.text.value[link.start_index : link.end_index] == link.text == "sandbox:/mnt/data/report.xlsx"
    stored = client.files.retrieve(link.file_path.file_id)
    assert (stored.purpose, stored.filename) == ("assistants_output", "report.xlsx")
    workbook = zipfile.ZipFile(io.BytesIO(client.files.content(stored.id).read()))
    assert b"share" in workbook.read("xl/sharedStrings.xml")
    assert b"<v>32</v>" in workbook.read("xl/worksheets/sheet1.xml")
    assert client.beta.threads.messages.retrieve(message.id, thread_id=thread.id).content == message.content
    context = system_context(model)
    assert context.startswith("Be brief.\n\n")
    assert f"/mnt/data/sales.csv (also /mnt/data/{file_id}): {len(SALES)} bytes" in context
    # Neither warned that a letter had no picture.
    assert logs(client, thread.id, message.run_id or "") == ["42"]
    # The thread has the file from now on (G.3.1).
    resources = client.beta.threads.retrieve(thread.id).tool_resources
    assert resources and resources.code_interpreter
    assert resources.code_interpreter.file_ids == [file_id]


def test_links_are_found_however_the_text_is_cut_and_each_time(service: Service, client: OpenAI, model: Script):
    name, other = "sandbox:/mnt/data/a b.csv", "sandbox:/mnt/data/a b.csv.gz"
    said = f"📊 [x]({name}), {name}.\nAgain: ({name.replace(' ', '%20')}) and {other}, not {name}x: {name}"
    write = "for name in ('a b.csv', 'a b.csv.gz'):\n    open('/mnt/data/' + name, 'w').write('1')"
    model.will_call("code_interpreter", code=write)
    model.will_say(said, pieces=len(said), delay=0.001)
    assistant = assistant_id(client, model, tools=[CODE])
    thread_id = thread_with(client, "Write.")
    body = {"assistant_id": assistant, "stream": True}
    with service.http() as http, open_stream(http, "POST", f"/threads/{thread_id}/runs", json=body) as stream:
        stream.finish()  # which adds up the deltas, and looks whether links are where they say
    assert stream.text == said
    annotations = last_text(client, thread_id).text.annotations
    assert [note.text for note in annotations] == [name, name, name.replace(" ", "%20"), other, name]
    assert len({note.file_path.file_id for note in annotations if note.type == "file_path"}) == 2


def test_the_code_is_streamed_while_the_model_writes_it(service: Service, client: OpenAI, model: Script):
    code = "words = 'ä 😀 \\\\n'\n" * 40 + "print('ready')"
    writing = model.will_call_all(("code_interpreter", {"code": code}), hold_after=3)
    model.will_say("Ready.")
    assistant, thread_id = assistant_id(client, model, tools=[CODE]), thread_with(client, "Write.")
    body = {"assistant_id": assistant, "stream": True}
    with service.http() as http, open_stream(http, "POST", f"/threads/{thread_id}/runs", json=body) as stream:
        seen = ""
        while not seen:
            call = stream.until("thread.run.step.delta")["delta"]["step_details"]["tool_calls"][0]
            seen += call["code_interpreter"]["input"]
        assert code.startswith(seen)
        writing.release()
        stream.finish()
    assert stream.names.count("run.step.created") == 2
    [call] = code_calls(client, thread_id, stream.run["id"])
    assert call.code_interpreter.input == code
    assert _inputs(stream) == code
    assert len(_step_deltas(stream)) == 4  # announced, two pieces, the outputs


def _step_deltas(stream: EventStream) -> list[Any]:
    return [data["delta"] for data in stream.of("thread.run.step.delta")]


def test_words_before_code_are_a_message_of_their_own_before_it_is_written(
    service: Service, client: OpenAI, model: Script
):
    call: list[tuple[str, dict[str, Any]]] = [("code_interpreter", {"code": "print(6 * 7)"})]
    writing = model.will_call_all(*call, text="Let me see.", pieces=1, hold_after=4)
    model.will_say("It is 42.")
    assistant, thread_id = assistant_id(client, model, tools=[CODE]), thread_with(client, "What is it?")
    body = {"assistant_id": assistant, "stream": True}
    with service.http() as http, open_stream(http, "POST", f"/threads/{thread_id}/runs", json=body) as stream:
        while not _inputs(stream):
            stream.until("thread.run.step.delta")
        assert client.beta.threads.messages.list(thread_id).data[0].status == "completed"
        writing.release()
        stream.finish()
    assert stream.names == [
        "run.created", "run.queued", "run.in_progress",
        "run.step.created", "run.step.in_progress", "message.created", "message.in_progress",
        "message.delta", "message.completed", "run.step.completed",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.completed",
        "run.step.created", "run.step.in_progress", "message.created", "message.in_progress",
        "message.delta", "message.completed", "run.step.completed", "run.completed", "done",
    ]  # fmt: skip
    texts = [part.text.value for message in client.beta.threads.messages.list(thread_id) for part in message.content
             if part.type == "text"]  # fmt: skip
    assert texts == ["It is 42.", "Let me see.", "What is it?"]
    said = [message for message in model.requests[-1]["messages"] if message["role"] == "assistant"]
    assert [message["content"] for message in said] == ["Let me see."]


def _inputs(stream: EventStream) -> str:
    calls = (delta["step_details"]["tool_calls"][0]["code_interpreter"] for delta in _step_deltas(stream))
    return "".join(call.get("input", "") for call in calls)


def test_code_that_is_cut_off_ends_with_its_run(service: Service, client: OpenAI, model: Script):
    model.will_call_all(("code_interpreter", {"code": "print(1)" * 50}), finish="length")
    assistant, thread_id = assistant_id(client, model, tools=[CODE]), thread_with(client, "Write.")
    body = {"assistant_id": assistant, "stream": True}
    with service.http() as http, open_stream(http, "POST", f"/threads/{thread_id}/runs", json=body) as stream:
        stream.finish()
    assert stream.run["status"] == "incomplete"
    [call] = code_calls(client, thread_id, stream.run["id"])
    assert (call.code_interpreter.input, call.code_interpreter.outputs) == ("print(1)" * 50, [])


def test_a_run_cancelled_while_code_is_written(service: Service, client: OpenAI, model: Script):
    model.will_call_all(("code_interpreter", {"code": "print(1)" * 50}), hold_after=3)
    assistant, thread_id = assistant_id(client, model, tools=[CODE]), thread_with(client, "Write.")
    body = {"assistant_id": assistant, "stream": True}
    with service.http() as http, open_stream(http, "POST", f"/threads/{thread_id}/runs", json=body) as stream:
        stream.until("thread.run.step.delta")
        run_id = stream.of("thread.run.created")[0]["id"]
        client.beta.threads.runs.cancel(run_id, thread_id=thread_id)
        stream.finish()
    assert stream.names[-4:] == ["run.cancelling", "run.step.cancelled", "run.cancelled", "done"]
    [step] = client.beta.threads.runs.steps.list(run_id, thread_id=thread_id)
    assert step.status == "cancelled"


def test_files_of_assistant_thread_and_message_lie_under_names_of_their_own(client: OpenAI, model: Script):
    contents = {upload(client, text, name): text for name, text in [("data.csv", b"1"), ("data.csv", b"22")]}
    odd = upload(client, b"333", "../../etc/pass wd?.csv")
    first, second = contents
    resources: Any = {"code_interpreter": {"file_ids": [first]}}
    assistant = assistant_id(client, model, tools=[CODE], tool_resources=resources)
    thread = client.beta.threads.create(tool_resources={"code_interpreter": {"file_ids": [second]}})
    attached: Any = {"file_id": odd, "tools": [CODE]}
    client.beta.threads.messages.create(thread.id, role="user", content="Look.", attachments=[attached])
    look = "import os\nprint({n: os.path.getsize('/mnt/data/' + n) for n in sorted(os.listdir('/mnt/data'))})"
    model.will_call("code_interpreter", code=look)
    model.will_say("Seen.")
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant)
    sizes = {first: 1, second: 2, odd: 3, "data.csv": 1, "data_2.csv": 2, "pass wd_.csv": 3}
    assert logs(client, thread.id, run.id) == [str(dict(sorted(sizes.items())))]
    assert "/mnt/data/data_2.csv" in system_context(model)
    # Nothing of it is the code's doing.
    assert not [file for file in client.files.list(purpose="assistants_output") if file.filename in sizes]


def test_state_is_kept_from_run_to_run_and_apart_from_thread_to_thread(client: OpenAI, model: Script):
    one, two = thread_with(client, "One."), thread_with(client, "Two.")
    answered(client, model, one, "x = 20\nopen('/mnt/data/x', 'w').write('1')")
    run = answered(client, model, one, "print(x + 1)")
    assert logs(client, one, run) == ["21"]
    run = answered(client, model, two, "import os\nprint('x' in dir(), os.listdir('/mnt/data'))")
    assert logs(client, two, run) == ["False []"]


def test_a_file_that_is_written_anew_is_another_file(client: OpenAI, model: Script):
    thread_id = thread_with(client, "Write.")
    ids = []
    for text in ("one", "three"):
        write = f"open('/mnt/data/out.txt', 'w').write({text!r});"
        answered(client, model, thread_id, write, say="sandbox:/mnt/data/out.txt")
        [note] = last_text(client, thread_id).text.annotations
        assert isinstance(note, FilePathAnnotation)
        ids.append(note.file_path.file_id)
    assert [client.files.content(file_id).read() for file_id in ids] == [b"one", b"three"]


def test_errors_and_time_outs_are_told_to_the_model_which_goes_on(client: OpenAI, model: Script):
    thread_id = thread_with(client, "Try.")
    run = answered(client, model, thread_id, "1 / 0", "while True: pass", "print('at last')")
    first, second, third = logs(client, thread_id, run)
    assert "ZeroDivisionError" in first and "/root" not in first
    assert "5 seconds" in second
    assert third == "at last"
    told = [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "tool"]
    assert ["ZeroDivisionError" in told[0], "5 seconds" in told[1], told[2]] == [True, True, "at last"]


def test_pictures_of_several_calls_are_in_the_next_message_in_their_order(client: OpenAI, model: Script):
    draw = "import matplotlib.pyplot as plt\nplt.plot([1, {}])\nplt.show()"
    thread_id = thread_with(client, "Draw.")
    run = answered(client, model, thread_id, draw.format(2), draw.format(3), say="Two.")
    outputs = [output for call in code_calls(client, thread_id, run) for output in call.code_interpreter.outputs]
    drawn = [output.image.file_id for output in outputs if output.type == "image"]
    message = client.beta.threads.messages.list(thread_id).data[0]
    assert [part.image_file.file_id for part in message.content if part.type == "image_file"] == drawn
    assert len(set(drawn)) == 2
    # The next run's message has none of them.
    answered(client, model, thread_id, say="Nothing new.")
    assert [part.type for part in client.beta.threads.messages.list(thread_id).data[0].content] == ["text"]


def test_a_turn_that_calls_code_and_a_function_waits_with_the_function_alone(client: OpenAI, model: Script):
    calls: list[tuple[str, dict[str, Any]]] = [("weather", {"city": "Oslo"}), ("code_interpreter", {"code": "6 * 7"})]
    model.will_call_all(*calls)
    model.will_say("Mild.")
    assistant = assistant_id(client, model, tools=[CODE, WEATHER])
    thread_id = thread_with(client, "How is the weather?")
    run = client.beta.threads.runs.create_and_poll(thread_id=thread_id, assistant_id=assistant)
    assert run.status == "requires_action"
    outputs = outputs_of(run, "mild")
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=thread_id, tool_outputs=outputs)
    assert run_when(client, run).status == "completed"
    assert logs(client, thread_id, run.id) == ["42"]


def test_three_questions_about_failed_banks(client: OpenAI, model: Script):
    """In the manner of Azure's samples: a table of a few thousand rows, questions that build on one another."""
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["Bank Name", "City", "State", "Closing Date", "Assets"])
    states = ["GA", "FL", "IL", "CA", "MN"]
    rows.writerows(
        [f"Bank {n}", f"City {n % 91}", states[n % 6 % 5], f"{2001 + n % 23}-0{1 + n % 9}-15", n * 1000]
        for n in range(4000)
    )
    file_id = upload(client, table.getvalue().encode(), "banklist.csv")
    thread = client.beta.threads.create(tool_resources={"code_interpreter": {"file_ids": [file_id]}})
    load = "import pandas as pd\nbanks = pd.read_csv('/mnt/data/banklist.csv')\nlen(banks)"
    run = answered(client, model, thread.id, load, say="4,000 banks.")
    assert logs(client, thread.id, run) == ["4000"]
    run = answered(client, model, thread.id, "banks['State'].value_counts().idxmax()", say="Georgia.")
    assert logs(client, thread.id, run) == ["'GA'"]
    chart = (
        "import matplotlib.pyplot as plt\nbanks['Closing Date'].str[:4].value_counts().sort_index().plot(kind='bar')\n"
        "plt.show()\nbanks.groupby('State')['Assets'].sum().to_csv('/mnt/data/by_state.csv')"
    )
    say = "Here: sandbox:/mnt/data/by_state.csv"
    answered(client, model, thread.id, chart, say=say)
    message = client.beta.threads.messages.list(thread.id).data[0]
    assert [part.type for part in message.content] == ["image_file", "text"]
    [note] = last_text(client, thread.id).text.annotations
    assert isinstance(note, FilePathAnnotation)
    lines = client.files.content(note.file_path.file_id).read().decode().splitlines()
    assert lines[0] == "State,Assets"
    assert sum(int(line.split(",")[1]) for line in lines[1:]) == sum(n * 1000 for n in range(4000))


DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nopen('/mnt/data/a.txt', 'w').write('written');"
LINK = "Here: sandbox:/mnt/data/a.txt"


class Handler(AssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note(self, what: str) -> None:
        if self.heard[-1:] != [what]:
            self.heard.append(what)

    @override
    def on_message_created(self, message: Message) -> None:
        self.note("message created")

    @override
    def on_message_done(self, message: Message) -> None:
        self.note("message done")

    @override
    def on_text_delta(self, delta: TextDelta, snapshot: Text) -> None:
        self.note("text delta")

    @override
    def on_image_file_done(self, image_file: ImageFile) -> None:
        self.note(f"image {image_file.file_id[:5]}")

    @override
    def on_tool_call_created(self, tool_call: ToolCall) -> None:
        self.note("tool call created")

    @override
    def on_tool_call_delta(self, delta: ToolCallDelta, snapshot: ToolCall) -> None:
        self.note("tool call delta")

    @override
    def on_tool_call_done(self, tool_call: ToolCall) -> None:
        assert isinstance(tool_call, CodeInterpreterToolCall)
        self.note(f"tool call done: {tool_call.code_interpreter.input}")


HEARD = [
    "tool call created", "tool call delta", f"tool call done: {DRAW}",
    # The clients tell of the image when the next part has begun.
    "message created", "text delta", "image file-", "text delta", "message done",
]  # fmt: skip


def test_the_python_clients_handler_hears_all_of_it(client: OpenAI, model: Script):
    model.will_call("code_interpreter", code=DRAW)
    model.will_say(LINK)
    assistant, thread_id = assistant_id(client, model, tools=[CODE]), thread_with(client, "Draw.")
    handler = Handler()
    with client.beta.threads.runs.stream(thread_id=thread_id, assistant_id=assistant, event_handler=handler) as stream:
        stream.until_done()
        steps = stream.get_final_run_steps()
        [message] = stream.get_final_messages()
    assert handler.heard == [*HEARD, HEARD[2]]  # this client tells of a last call once more at the stream's end
    [call] = [call for step in steps if step.step_details.type == "tool_calls" for call in step.step_details.tool_calls]
    assert isinstance(call, CodeInterpreterToolCall)
    assert [output.type for output in call.code_interpreter.outputs] == ["image"]
    assert [part.type for part in message.content] == ["image_file", "text"]


@pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])
def test_the_node_clients_handler_hears_all_of_it(service: Service, model: Script, azure: bool):
    model.will_call("code_interpreter", code=DRAW)
    model.will_say(LINK)
    assert node_client(service, "hear_code", model.name, azure=azure) == {
        "heard": HEARD,
        "status": "completed",
        "outputs": ["image"],
        "cut": True,
        "written": "written",
        "image": True,
    }
