"""The scenarios that schedules are played on: small ones for every schedule, a long one for random ones."""

from tests.model.scenario import Scenario
from tests.model.scripted_language_model import Said

# Silences longer than a batch (0.04 s), and longer than a second, after which a delivery looks up.
SPOKEN = Said(((0, "a"), (0.1, "b"), (1.3, "c")))
SHORT = Said(((0, "a"), (0.1, "b")))
CALLS = Said(calls=("f", "g"))
SPOKEN_CALLS = Said(((0, "let me see"),), calls=("f", "g"))
SILENT = Said()
CODE = Said(calls=("code_interpreter", "code_interpreter"))
MIXED = Said(((0, "let me see"),), calls=("f", "code_interpreter"))
CODE_FIRST = Said(calls=("code_interpreter", "f"))
SPOKEN_CODE = Said(((0, "let"), (0.1, "me see")), calls=("code_interpreter", "f"))
CODE_ONCE_SPOKEN = Said(((0, "let"), (0.1, "me see")), calls=("code_interpreter",), speaks_once=True)
CODE_ONCE = Said(((0, "let"), (0.1, "me see")), calls=("code_interpreter",), calls_once=True)
CODE_BROKEN_OFF = Said(calls=("code_interpreter", "code_interpreter"), breaks=frozenset({1, 2}))
CODE_CUT_OFF = Said(calls=("code_interpreter",), finish="length")
CODE_THEN_WORDS = Said(calls=("code_interpreter",), last_words="there")
# What the first call says, a delivery that takes over does not say again.
CALLS_ONCE_SPOKEN = Said(((0, "a"), (0.1, "b")), calls=("f",), speaks_once=True)
CUT_OFF_ONCE_SPOKEN = Said(((0, "a"), (0.1, "b")), finish="length", speaks_once=True)
SHORT_ONCE_SPOKEN = Said(((0, "a"), (0.1, "b")), speaks_once=True)
BROKEN_OFF = Said(((0, "a"), (0.1, "b")), breaks=frozenset({1, 2}))
BREAKS_SECOND = Said(breaks=frozenset({2}))
THROTTLED = Said(((0, "a"),), throttles=2)

ALL = frozenset({"other", "time", "kill", "zombie", "twin", "away", "hub", "sweep"})
EXPIRED = frozenset({"expired", "completed"})

# Each with every fault, one deviation more with the soak setting.
BROAD = (
    Scenario("an answer", (SPOKEN,), ALL, clients=("cancel",), reads=True),
    Scenario("an empty answer", (SILENT,), ALL),
    Scenario("a throttled model", (THROTTLED,), ALL, clients=("cancel",)),
    Scenario("a model that breaks off", (BROKEN_OFF,), ALL),
    Scenario("function calls", (CALLS, SHORT), ALL, clients=("cancel",), submits=2),
    Scenario("text before function calls, or none", (CALLS_ONCE_SPOKEN, SHORT_ONCE_SPOKEN), ALL),
    Scenario(
        "text before the cut, or none", (CUT_OFF_ONCE_SPOKEN,), ALL, clients=("cancel",), ends=frozenset({"incomplete"})
    ),
    Scenario("text before function calls", (SPOKEN_CALLS, SHORT), ALL, reads=True),
    Scenario("two rounds of function calls", (CALLS, SPOKEN_CALLS, SILENT), ALL, clients=("cancel",)),
    Scenario("built-in calls", (CODE, SHORT), ALL, clients=("cancel",), reads=True, tool_takes=0.5),
    Scenario("built-in calls beside a client's", (MIXED, SHORT), ALL, clients=("cancel",)),
    Scenario("words before code", (SPOKEN_CODE, SHORT), ALL, clients=("cancel",), reads=True),
    Scenario("words before code, or none", (CODE_ONCE_SPOKEN, SHORT), ALL),
    Scenario("words before code, or instead of it", (CODE_ONCE, SHORT), ALL),
    Scenario("a built-in call, then a client's", (CODE_FIRST, SHORT), ALL, clients=("cancel",)),
    Scenario("a model that breaks off in its code", (CODE_BROKEN_OFF, SHORT), ALL, clients=("cancel",)),
    Scenario("code that is cut off", (CODE_CUT_OFF,), ALL, clients=("cancel",), ends=frozenset({"incomplete"})),
    Scenario("words after code", (CODE_THEN_WORDS, SHORT), ALL, clients=("cancel",)),
    Scenario("a built-in call at the moment of expiry", (CODE, SHORT), ALL, lifetime=3.0, tool_takes=2.9, ends=EXPIRED),
    Scenario("outputs at the moment of expiry", (CALLS, SHORT), ALL, lifetime=3.0, submits_after=2.9, ends=EXPIRED),
    Scenario("an answer at the moment of expiry", (SPOKEN,), ALL, lifetime=2.0, ends=EXPIRED, reads=True),
)

# Pairs of deviations, where pairs are known to matter.
DEEP = (
    Scenario("a zombie", (SHORT,), frozenset({"zombie"})),
    Scenario(
        "a zombie while nobody answers",
        (CALLS, SILENT),
        frozenset({"zombie"}),
        submits=0,
        lifetime=14.0,
        ends=frozenset({"expired"}),
    ),
    Scenario("a zombie whose model breaks off", (BREAKS_SECOND,), frozenset({"zombie"})),
    Scenario("a twin", (SHORT,), frozenset({"other", "twin"})),
    Scenario("deaths", (SHORT,), frozenset({"kill"})),
    Scenario("a zombie in function calls", (CALLS, SILENT), frozenset({"zombie"})),
    Scenario("a zombie in a built-in call", (CODE, SILENT), frozenset({"zombie"}), tool_takes=0.5),
    Scenario("a zombie with words before code", (SPOKEN_CODE, SILENT), frozenset({"zombie"})),
    Scenario("deaths in words before code", (CODE_ONCE, SILENT), frozenset({"kill"})),
    Scenario("a zombie in code, then a client's call", (CODE_FIRST, SILENT), frozenset({"zombie"})),
    Scenario("deaths in built-in calls", (CODE, SILENT), frozenset({"kill"})),
    Scenario("a cancel among built-in calls", (CODE, SILENT), frozenset({"other"}), clients=("cancel",)),
    Scenario("a zombie that asks the client", (MIXED, SILENT), frozenset({"zombie"})),
    Scenario("a cancel among zombies", (SHORT,), frozenset({"zombie"}), clients=("cancel",)),
    Scenario("cancels among turns", (CALLS, SHORT), frozenset({"other"}), clients=("cancel", "cancel")),
    Scenario("a cancel among outputs", (CALLS, SILENT), frozenset({"other"}), clients=("cancel",)),
    Scenario(
        "a cancel while nobody answers",
        (CALLS,),
        frozenset({"nudge", "hub"}),
        clients=("cancel",),
        submits=0,
        lifetime=14.0,
        ends=EXPIRED,
    ),
    Scenario(
        "outputs around expiry",
        (CALLS, SILENT),
        frozenset({"time", "other"}),
        lifetime=3.0,
        submits_after=2.9,
        ends=EXPIRED,
    ),
    Scenario("an expiry among zombies", (SPOKEN,), frozenset({"zombie"}), lifetime=2.0, ends=EXPIRED),
)

LONG = Scenario(
    "a long run", (SPOKEN_CALLS, CODE, MIXED, SPOKEN_CODE, SPOKEN), ALL,
    clients=("cancel", "submit"), submits=2, reads=True,
    lifetime=120.0, ends=EXPIRED, within=200.0, cancelled_within=200.0,
)  # fmt: skip
