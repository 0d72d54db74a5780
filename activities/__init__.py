"""Side effects of a run: each activity may be delivered more than once and leaves the same state."""

from activities import append_message, ask_client, call_model, call_tool, close_run

blueprints = [call_model.bp, call_tool.bp, ask_client.bp, append_message.bp, close_run.bp]
