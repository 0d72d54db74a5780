"""Source read while the model writes it is a beginning of what is read in the end."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.code_input import CodeReader
from tools.code_interpreter import source


def read(written: str, cuts: list[int] | None = None) -> str:
    reader = CodeReader()
    places = [0, *sorted(min(cut, len(written)) for cut in cuts or []), len(written)]
    return "".join(reader.feed(written[a:b]) for a, b in pairwise(places))


CUTS = st.lists(st.integers(0, 300), max_size=30)


@given(st.text(max_size=200), CUTS, st.booleans(), st.sampled_from([None, 2]))
def test_all_of_the_code_is_read_however_it_is_cut(code: str, cuts: list[int], ascii: bool, indent: int | None):
    written = json.dumps({"code": code}, ensure_ascii=ascii, indent=indent)
    assert read(written, cuts) == code


@given(st.text(alphabet='{}":\\codeu0d8xn \n,[]\ud83d\ude001', max_size=60), CUTS)
def test_whatever_is_written_nothing_else_is_read(written: str, cuts: list[int]):
    assert source(written).startswith(read(written, cuts))
    inside = f'{{"code": "{written}"}}'
    if source(inside) != inside:  # it is JSON
        assert source(inside).startswith(read(inside, cuts))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("print('bare')\nx = 1", "print('bare')\nx = 1"),
        ("  # bare", "  # bare"),
        ('"quoted"', ""),
        ("[1, 2]", ""),
        ("7", ""),
        ('{"input": "1"}', ""),
        ('{"code" : "a\\u00e4\\ud83d\\ude00\\n"', "aä😀\n"),
        ('{"code": "a\\ud83d b"}', "a"),
        ('{"code": "a\\q"}', "a"),
        ('{"code": "raw\nbreak"}', "raw\nbreak"),
        ("", ""),
    ],
)
def test_what_is_read_before_the_end(written: str, expected: str):
    assert read(written) == read(written, list(range(len(written)))) == expected
