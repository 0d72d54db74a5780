"""The last openai of generation 1 against the service: what most programs to be moved here were written with."""

import pytest

from tests.clients.runner import old_python_client
from tests.scripted_model import Script
from tests.service import Service


@pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])
def test_a_round_trip(service: Service, model: Script, azure: bool) -> None:
    model.will_call("weather")
    model.will_say("Mild.")
    assert old_python_client(service, "round_trip", model.name, azure=azure) == {
        "statuses": ["requires_action", "completed"],
        "messages": ["Mild.", "Hi"],
        "steps": ["message_creation", "tool_calls"],
        "deleted": [True, True, "No thread found with id '…'."],
    }


def test_a_handler_through_a_function_call(service: Service, model: Script) -> None:
    model.will_call("weather", city="Oslo")
    model.will_say("It is mild.", delay=0.01)
    assert old_python_client(service, "hear_handler", model.name, azure=True) == {
        "heard": ['call weather {"city": "Oslo"}', "end", "text It is mild.", "end"],
        "status": "completed",
    }


def test_the_asynchronous_client(service: Service, model: Script) -> None:
    model.will_say("One two.", delay=0.01)
    assert old_python_client(service, "read_stream_async", model.name) == {"text": "One two.", "status": "completed"}
