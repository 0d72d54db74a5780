"""What conversations are held while processes die: drawn from one seed."""

import json
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """One thread's conversation: `answers` runs, one after the other.

    `rounds` of function calls come before each answer's text. A client that `leaves` closes each
    stream once in the middle and resumes it; one that `cancels` (seconds after the run's begin) does.
    Delays are the model's, in seconds.
    """

    token: str
    answers: int
    words: int
    first_delay: float
    delay: float
    rounds: int = 0
    streamed: bool = False
    leaves: bool = False
    cancels: float | None = None

    def question(self, number: int) -> str:
        directives = [f"first-delay:{self.first_delay:.2f}", f"delay:{self.delay:.3f}"]
        if self.rounds:
            directives += [
                "call:look_up",
                f"rounds:{self.rounds}",
                f"args:{json.dumps({'n': number})}".replace(" ", ""),
            ]
        filler = [f"{self.token}-{number}-{word}" for word in range(self.words)]
        return " ".join([*directives, *filler])

    def output(self, number: int, turn: int) -> str:
        """What the client submits for the call of that turn. Long, so that the answer streams for a while."""
        return " ".join(f"{self.token}-{number}-{turn}-{word}" for word in range(self.words // 2))

    def answer(self, number: int) -> str:
        """The one text that the model gives, whoever asks it, how often."""
        if self.rounds:
            return f"The tools said: {', '.join(self.output(number, turn) for turn in range(self.rounds))}"
        return f"You said: {self.question(number)}"


def draw(chance: random.Random) -> Plan:
    rounds = chance.choice((0, 0, 1, 2, 3))
    streamed = chance.random() < 0.6
    return Plan(
        token=f"t{chance.getrandbits(32):08x}",
        answers=chance.choice((1, 1, 2)),
        words=chance.randint(4, 40),
        first_delay=chance.choice((0.0, 0.1, 0.4)),
        delay=chance.choice((0.005, 0.02, 0.05)),
        rounds=rounds,
        streamed=streamed,
        leaves=streamed and chance.random() < 0.3,
        cancels=chance.uniform(0.0, 1.5) if chance.random() < 0.2 else None,
    )
