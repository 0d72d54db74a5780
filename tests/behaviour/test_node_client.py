"""npm's openai against the service. Skipped, visibly, where Node is missing."""

import pytest

from tests.clients.runner import node_client
from tests.scripted_model import Script
from tests.service import Service

BOTH = pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])


@BOTH
def test_a_round_trip(service: Service, model: Script, azure: bool) -> None:
    model.will_call("weather")
    model.will_say("Mild.")
    assert node_client(service, "round_trip", model.name, azure=azure) == {
        "statuses": ["requires_action", "completed"],
        "messages": ["Mild.", "Hi"],
        "steps": ["message_creation", "tool_calls"],
        "deleted": [True, True, "No thread found with id '…'."],
    }


@BOTH
def test_the_events_of_the_stream_helper(service: Service, model: Script, azure: bool) -> None:
    model.will_call("weather", city="Oslo")
    model.will_say("It is mild.", delay=0.01)
    assert node_client(service, "hear_handler", model.name, azure=azure) == {
        "heard": ['call weather {"city": "Oslo"}', "end", "message created", "text It is mild.", "message done", "end"],
        "status": "completed",
        "same": True,
    }


def test_cancelling_from_within_a_stream(service: Service, model: Script) -> None:
    model.will_hang("Once upon a time", after=3)
    assert node_client(service, "cancel_while_streaming", model.name) == {"status": "cancelled"}
