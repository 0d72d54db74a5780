"""What a scenario is made of."""

from dataclasses import dataclass

from tests.model.scripted_language_model import Said


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the model says, what clients do, and which faults a schedule may choose from.

    Faults: "other" (another actor goes first), "time" (it passes while operations hang), "kill"
    (before or after an operation), "zombie" (a delivery freezes and is given to another, and wakes
    whenever), "twin" (delivered again while the first lives), "away" (store or hub fail, or their
    answer is lost), "nudge" (only the hub does), "hub" (it is lost with all it knew), "sweep" (the
    sweeper comes by).
    """

    name: str
    turns: tuple[Said, ...]
    faults: frozenset[str]
    clients: tuple[str, ...] = ()  # that a schedule lets act once, at any moment: "cancel", "submit"
    submits: int = 1  # clients that submit the outputs when the run waits for them
    reads: bool = False  # whether a client streams all along
    lifetime: float = 600.0
    tool_takes: float = 0.0  # seconds that a call of the built-in tool takes
    submits_after: float = 0.0  # seconds that a client thinks about the outputs
    ends: frozenset[str] = frozenset({"completed"})
    within: float = 40.0  # seconds in which the run ends, whatever goes wrong
    cancelled_within: float = 12.0  # of them, after a cancel: a lost nudge costs a sweep
