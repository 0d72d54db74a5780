"""What the host gives to workers."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["orchestration", "activity", "timer", "warmup"]


@dataclass(frozen=True, slots=True)
class Work:
    """One orchestration step, activity or timer tick.

    `name` is the function's; `body` is what its trigger takes: base64 of the OrchestratorRequest, the
    activity's JSON input, or nothing. `execution` is the task hub's number of the instance's execution.
    `token` names an orchestration step, `task_id` an activity in its orchestration.
    """

    kind: Kind
    name: str
    body: str
    instance_id: str = ""
    execution: int = 0
    token: str = ""
    task_id: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """`error` is the exception's repr, or a sentence of the host's; `trace` may be empty."""

    error: str
    trace: str = ""
