"""The query's `include[]`: what a run step shows beyond the usual (B.4.2)."""

from errors import InvalidRequest
from routes.operation import Call

RESULT_CONTENT = "step_details.tool_calls[*].file_search.results[*].content"


def check_include(call: Call) -> None:
    """InvalidRequest for anything but the one value there is; written `include[]` or `include` (A.4.2)."""
    query = call.request.query_params
    for value in [*query.getlist("include[]"), *query.getlist("include")]:
        if value != RESULT_CONTENT:
            raise InvalidRequest(
                f"Invalid value: '{value[:100]}'. Supported values are: '{RESULT_CONTENT}'.",
                param="include",
                code="invalid_value",
            )
