"""The words in which endpoints say why an answer ended, and what each of them means."""

import re
from typing import Literal

from ports.language_model import ModelUnavailable

Finish = Literal["stop", "tool_calls", "length", "content_filter"]

# Compared without case and without what is no letter: MAX_TOKENS, max-tokens and maxTokens are one word.
_LENGTH = {
    *("length", "maxtokens", "maxtoken", "maxoutputtokens", "maxcompletiontokens", "maxnewtokens", "maxlength"),
    *("modellength", "tokenlimit", "outputlimit", "contextlength", "contextlengthexceeded", "truncated"),
    *("modelcontextwindowexceeded", "contextwindowexceeded", "maxcontextlength", "errorlimit", "incomplete"),
}
_FILTER = {
    *("contentfilter", "contentfiltered", "safety", "imagesafety", "prohibitedcontent", "blocklist", "blocked", "spii"),
    *("recitation", "guardrailintervened", "guardrails", "sensitive", "moderation", "contentmoderation", "errortoxic"),
    *("contentpolicy", "contentpolicyviolation", "refusal"),
}
_BROKEN = {
    *("error", "internalerror", "servererror", "networkerror", "modelerror", "failed", "failure", "overloaded"),
    *("insufficientsystemresource", "outofresources", "outofresource", "outofmemory", "resourceexhausted"),
    *("malformedfunctioncall", "malformedtoolcall", "malformedresponse", "invalidfunctioncall", "toolcallerror"),
    *("timeout", "abort", "aborted", "cancelled", "canceled", "unexpectedtoolcall"),
}
_NONE_YET = {"", "null", "none", "finishreasonunspecified"}


def finish_of(reason: object) -> Finish | None:
    """What a `finish_reason` means, None if the answer goes on. Raises ModelUnavailable if the model broke off.

    A word that nobody knows means that the answer is whole: models end with words of their own (eos, <|eot_id|>).
    """
    if reason is None or reason is False:
        return None
    if not isinstance(reason, str):
        return "stop"
    word = re.sub(r"[\W_]+", "", reason).casefold()
    if word in _NONE_YET:
        return None if word or not reason.strip() else "stop"
    if word in _LENGTH:
        return "length"
    if word in _FILTER:
        return "content_filter"
    if word in _BROKEN or "malformed" in word:
        raise ModelUnavailable(f"The model broke off its answer: {word[:50]}.")
    return "stop"
