import time
from typing import Any

from domain import tokens
from domain.chat_messages import TurnRecord, chat_request
from domain.context_window import Window
from domain.usage import counted
from tests.unit.resources import a_function, a_message, a_run

# 100 tokens of text, 104 with the message around them.
HUNDRED = " word" * 100


def fill(window: Window, thread: list[Any]) -> list[str]:
    """Feed the thread as the activity does; return the beginnings of what is in."""
    for message in reversed(thread):
        if not window.add(message):
            break
    if window.wants_first:
        window.keep_first(next(message for message in thread if message["role"] == "user"))
    return [message["content"].split()[0] for message in window.messages]


def a_window(tokens_for_messages: int, **overrides: Any) -> Window:
    """A window with that much room beside the instructions and the answer."""
    run = (
        a_run(**overrides, max_completion_tokens=1) if "max_completion_tokens" not in overrides else a_run(**overrides)
    )
    instructions = tokens.of_message({"content": "Be brief."})
    return Window(run, [], context_tokens=tokens_for_messages + instructions + 1)


def a_thread(count: int) -> list[Any]:
    return [a_message(n, f"#{n}{HUNDRED}", role="user" if n % 2 == 0 else "assistant") for n in range(count)]


COST = tokens.of_message({"content": f"#1{HUNDRED}"})


def test_a_short_thread_is_all_in() -> None:
    assert fill(a_window(10_000), a_thread(4)) == ["#0", "#1", "#2", "#3"]


def test_the_first_user_message_stays_and_the_middle_goes() -> None:
    assert fill(a_window(3 * COST), a_thread(20)) == ["#0", "#18", "#19"]


def test_a_window_that_just_fits_uses_every_token() -> None:
    assert fill(a_window(5 * COST), a_thread(5)) == ["#0", "#1", "#2", "#3", "#4"]
    assert fill(a_window(5 * COST - 1), a_thread(5)) == ["#0", "#2", "#3", "#4"]


def test_the_first_message_is_not_kept_at_the_cost_of_the_newest() -> None:
    thread = [a_message(0, "#0" + HUNDRED * 9), *a_thread(20)[1:]]
    assert fill(a_window(3 * COST), thread) == ["#17", "#18", "#19"]


def test_a_newest_message_too_long_for_the_model_is_left_to_the_endpoint() -> None:
    thread = [*a_thread(5), a_message(5, "#5" + HUNDRED * 50)]
    assert fill(a_window(3 * COST), thread) == ["#5"]


def test_only_the_last_messages_if_the_run_says_so() -> None:
    strategy = {"type": "last_messages", "last_messages": 2}
    assert fill(a_window(10_000, truncation_strategy=strategy), a_thread(20)) == ["#18", "#19"]


def test_the_runs_own_messages_are_passed_over() -> None:
    thread = [*a_thread(2), a_message(2, "own", role="assistant", run_id="run_1")]
    assert fill(a_window(10_000), thread) == ["#0", "#1"]


def test_the_prompt_budget_narrows_the_window() -> None:
    window = Window(a_run(max_prompt_tokens=3 * COST + 20), [], context_tokens=32_000)
    assert fill(window, a_thread(20)) == ["#0", "#18", "#19"]


def test_a_later_turn_gets_what_the_earlier_ones_left() -> None:
    window = Window(a_run(max_prompt_tokens=1_000), [], context_tokens=32_000, prompt_tokens_spent=880)
    assert fill(window, a_thread(20)) == ["#19"]


def test_a_prompt_budget_too_small_for_the_newest_message_ends_the_run() -> None:
    window = Window(a_run(max_prompt_tokens=50), [], context_tokens=32_000)
    assert fill(window, a_thread(20)) == []
    assert window.is_over_prompt_budget


def test_tools_and_earlier_turns_are_charged() -> None:
    turn: TurnRecord = {
        "text": "",
        "calls": [{"id": "c", "name": "f", "arguments": "{}"}],
        "outputs": {"c": HUNDRED},
    }
    run = a_run(tools=[a_function("f", description=HUNDRED)], max_prompt_tokens=3 * COST)
    assert fill(Window(run, [], context_tokens=32_000), a_thread(20)) == ["#19"]
    window = Window(run, [turn], context_tokens=32_000)
    assert fill(window, a_thread(20)) == []
    assert window.is_over_prompt_budget


def test_the_budget_holds_for_what_is_sent() -> None:
    run = a_run(max_prompt_tokens=700)
    window = Window(run, [], context_tokens=32_000)
    fill(window, a_thread(50))
    spent = counted(chat_request(run, window.messages, []), "", []).prompt_tokens
    assert 700 - COST < spent <= 700


def test_text_beyond_the_window_is_not_counted_to_its_end() -> None:
    tokens.count("load the vocabulary")
    window = Window(a_run(), [], context_tokens=32_000)
    window.add(a_message(2, "newest"))
    began = time.process_time()
    assert not window.add(a_message(1, "never ends " * 3_000_000))
    assert time.process_time() - began < 0.5


def test_small_threads_need_no_vocabulary() -> None:
    tokens._tokenizer.cache_clear()
    fill(Window(a_run(), [], context_tokens=32_000), a_thread(10))
    assert tokens._tokenizer.cache_info().currsize == 0


def test_counting_agrees_with_the_vocabulary() -> None:
    assert tokens.count("hello world") == 2
    assert tokens.count("<|endoftext|>") > 1  # text that looks like a special token is text
    assert tokens.count("") == 0
    low = {"type": "image_url", "image_url": {"url": "u", "detail": "low"}}
    assert tokens.of_message({"content": [low, {"type": "text", "text": "hello world"}]}) == 4 + 85 + 2
