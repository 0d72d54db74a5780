"""Text as UTF-8 can hold it: JSON can say half a surrogate pair, which no store, answer or model takes."""

REPLACEMENT = "\ufffd"


def whole(text: str) -> str:
    """Return the text with the halves of surrogate pairs joined, and U+FFFD for each that stands alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class TextJoiner:
    """Makes text whole that arrives in pieces, also where a piece ends between two halves of a pair."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """Return what of the text is whole by now; half a pair at the end is kept for the next piece."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return whole(text[:-1] if self._half else text)

    def end(self) -> str:
        """Return what is left: U+FFFD for a half that never found its other half, else nothing."""
        left, self._half = REPLACEMENT if self._half else "", ""
        return left
