"""Names of files in a session, and links to them in an answer."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.code_files import LONGEST_NAME, names_of, note, safe_name
from domain.file_links import PREFIX, ROOM, FileLinks

FILES = {"a.csv": "file-a", "a.csv.gz": "file-gz", "my report.xlsx": "file-r", "报告.csv": "file-z"}


def a_file(id: str, filename: str, size: int = 1) -> dict[str, Any]:
    return {"id": id, "filename": filename, "bytes": size}


def linked(text: str, cuts: list[int] | None = None) -> list[tuple[str, str]]:
    """Feed the text in pieces; return text and file of each annotation."""
    links = FileLinks(FILES)
    places = [0, *sorted(cuts or []), len(text)]
    found = [each for a, b in pairwise(places) for each in links.feed(text[a:b])]
    found += links.end()
    for each in found:
        assert text[each["start_index"] : each["end_index"]] == each["text"]
    return [(each["text"].removeprefix(PREFIX), each["file_path"]["file_id"]) for each in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](sandbox:/mnt/data/a.csv)", [("a.csv", "file-a")]),
        ("See sandbox:/mnt/data/a.csv.", [("a.csv", "file-a")]),
        ("sandbox:/mnt/data/a.csv.gz", [("a.csv.gz", "file-gz")]),
        ("sandbox:/mnt/data/a.csv.bz2 sandbox:/mnt/data/a.csv2 sandbox:/mnt/data/a.csv-old", []),
        ("sandbox:/mnt/data/b.csv /mnt/data/a.csv", []),
        ("(sandbox:/mnt/data/my%20report.xlsx)", [("my%20report.xlsx", "file-r")]),
        ("(sandbox:/mnt/data/my report.xlsx)", [("my report.xlsx", "file-r")]),
        ("sandbox:/mnt/data/报告.csv下载", [("报告.csv", "file-z")]),
        ("sandbox:/mnt/data/%E6%8A%A5%E5%91%8A.csv", [("%E6%8A%A5%E5%91%8A.csv", "file-z")]),
        ("sandbox:/mnt/data/sandbox:/mnt/data/a.csv", [("a.csv", "file-a")]),
        ("😀" * 3 + "sandbox:/mnt/data/a.csv", [("a.csv", "file-a")]),
        ("sandbox:/mnt/data/a.csv\nsandbox:/mnt/data/a.csv", [("a.csv", "file-a")] * 2),
    ],
)
def test_what_is_a_link_and_what_is_not(text: str, expected: list[tuple[str, str]]):
    assert linked(text) == expected


@given(
    st.lists(st.sampled_from([PREFIX, *FILES, ".", "-", "x", " ", ")", "😀", "sandbox:", "/mnt/data/"]), max_size=12),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_a_link_is_found_wherever_the_text_is_cut(words: list[str], cuts: list[int]):
    text = "".join(words)
    assert linked(text, [min(cut, len(text)) for cut in cuts]) == linked(text)


def test_annotations_have_a_bound():
    links = FileLinks(FILES)
    found = links.feed(f"{PREFIX}a.csv " * 10_000)
    assert 100 < len(found) < ROOM / 100


def test_a_name_is_made_safe_and_keeps_its_extension():
    assert safe_name("Umsatz 2024 (neu).xlsx") == "Umsatz 2024 (neu).xlsx"
    assert safe_name("a/b\\c:d?.csv") == "a_b_c_d_.csv"
    assert safe_name("...") == "file"
    assert safe_name(".hidden") == "hidden"
    assert safe_name("报告.csv") == "报告.csv"
    long = safe_name("ü" * 300 + ".csv")
    assert long.endswith(".csv") and len(long.encode()) <= LONGEST_NAME


@given(st.lists(st.text(max_size=20), max_size=8), st.lists(st.text(max_size=8), max_size=3))
def test_no_two_files_have_one_name_and_whoever_has_one_keeps_it(filenames: list[str], others: list[str]):
    files = [a_file(f"file-{n}", filename) for n, filename in enumerate(filenames)]
    names = names_of(files, {}, others)
    assert len({name.casefold() for name in names.values()}) == len(files)
    assert not {name.casefold() for name in names.values()} & {other.casefold() for other in others}
    assert all("/" not in name and name not in (".", "..", "") for name in names.values())
    left = files[1:]
    assert (
        names_of([*left, a_file("file-new", "data.csv")], names).items()
        >= {file["id"]: names[file["id"]] for file in left}.items()
    )


def test_the_note_names_every_file_and_what_it_was_called():
    files = [a_file("file-1", "a.csv", 10), a_file("file-2", "b?.csv", 20)]
    text = note(files, names_of(files, {}))
    assert "- /mnt/data/a.csv (also /mnt/data/file-1): 10 bytes\n" in text
    assert text.endswith('- /mnt/data/b_.csv (also /mnt/data/file-2): 20 bytes, uploaded as "b?.csv"')
    assert note([], {}) == ""
