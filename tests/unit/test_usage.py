from domain.usage import as_usage, counted, spent_budget, total
from ports.language_model import ChatRequest, FunctionCall, ModelUsage
from tests.unit.resources import a_run


def test_usage_is_spelled_as_on_the_wire() -> None:
    assert as_usage(ModelUsage(260, 12, cached_tokens=5, reasoning_tokens=3)) == {
        "prompt_tokens": 260,
        "completion_tokens": 12,
        "total_tokens": 272,
        "prompt_token_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def test_a_runs_usage_is_the_sum_of_its_steps() -> None:
    one, two = ModelUsage(10, 5, 1, 2), ModelUsage(20, 7, 3, 4)
    assert total([as_usage(one), None, as_usage(two)]) == as_usage(ModelUsage(30, 12, 4, 6))
    assert total([]) == as_usage(ModelUsage(0, 0))


def test_what_the_endpoint_does_not_tell_is_counted() -> None:
    request = ChatRequest("m", [{"role": "user", "content": "hello world"}])
    assert counted(request, "hello world", []) == ModelUsage(6, 2)
    with_calls = counted(request, "", [FunctionCall(0, "c", "get", "{}")])
    assert with_calls.completion_tokens == 2


def test_tools_count_as_prompt() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    bare = counted(ChatRequest("m", []), "", []).prompt_tokens
    assert counted(ChatRequest("m", [], tools=tools), "", []).prompt_tokens > bare


def test_a_budget_is_spent_when_nothing_is_left() -> None:
    run = a_run(max_prompt_tokens=500, max_completion_tokens=100)
    assert spent_budget(run, as_usage(ModelUsage(499, 99))) is None
    assert spent_budget(run, as_usage(ModelUsage(500, 99))) == "max_prompt_tokens"
    assert spent_budget(run, as_usage(ModelUsage(10, 100))) == "max_completion_tokens"
    assert spent_budget(a_run(), as_usage(ModelUsage(10**6, 10**6))) is None
