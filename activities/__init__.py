"""Side effects of a run: each activity may be delivered more than once and leaves the same state."""

from activities import append_message, call_model, close_run

blueprints = [call_model.bp, append_message.bp, close_run.bp]
