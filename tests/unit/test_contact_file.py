"""Files of contacts as people and spreadsheets write them."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.errors import MissingFiles, UnreadableFile
from streamflow.scores.campaigns.contact_file import Contacts, ContactsRefused, read_contacts
from streamflow.scores.campaigns.list_file import CONTACT, HOLD_OUT, Column, write, write_csv
from streamflow.scores.campaigns.spreadsheet_text import as_it_was, as_plain_text

TODAY = date(2024, 3, 31)


def read(file: Path, content: str | bytes) -> Contacts:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_contacts(file, "user_id", TODAY)


@given(st.text())
def test_text_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    plain = as_plain_text(text)
    assert not plain.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    assert as_it_was(plain) == text


@given(st.lists(st.text("=+-@'\u00e9 a,;\"", min_size=1, max_size=9), min_size=1, unique=True))
def test_no_cell_of_a_list_begins_like_a_formula(ids: list[str]) -> None:
    output = io.StringIO()
    held_out = [HOLD_OUT if number % 3 == 0 else CONTACT for number in range(len(ids))]
    numbers: list[object] = [-float(number) for number in range(len(ids))]
    write_csv(
        output,
        [
            Column("user_id", "text", ids),
            Column("assignment", "text", held_out),
            Column("expected_value", "number", numbers),
        ],
    )
    _, *rows = csv.reader(io.StringIO(output.getvalue()))
    assert [as_it_was(row[0]) for row in rows] == ids
    assert not [row for row in rows if row[0].startswith(("=", "+", "-", "@"))]
    assert [float(row[2]) for row in rows] == numbers


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_a_list_comes_back_in_each_form_with_its_ids_as_they_are(tmp_path: Path, kind: str) -> None:
    ids = ["007", "=1+1", "-x", "plain"]
    file = tmp_path / f"list.{kind}"
    write(
        file,
        kind,  # type: ignore[arg-type]
        [
            Column("user_id", "text", ids),
            Column("assignment", "text", [CONTACT, CONTACT, HOLD_OUT, CONTACT]),
            Column("contacted_on", "date", [date(2024, 3, 1), date(2024, 3, 2), None, None]),
            Column("list", "whole", [4] * 4),
        ],
    )
    found = read_contacts(file, "user_id", TODAY)
    assert found.days == {"007": date(2024, 3, 1), "=1+1": date(2024, 3, 2)}
    assert (found.list_id, found.left_out) == (4, 2)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_spreadsheets_may_write_other_separators_and_a_mark_at_the_beginning(
    tmp_path: Path, separator: str, end: str
) -> None:
    lines = [separator.join(one) for one in (["user_id", "list"], ["a", "2"], ["b", "2"], ["", ""])]
    found = read(tmp_path / "back.csv", b"\xef\xbb\xbf" + end.join(lines).encode())
    assert found.days == {"a": None, "b": None}
    assert found.list_id == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user_id,contacted_on\na,2024-04-01\n", "line 2.*'2024-04-01'.*isn't in the future"),
        ("user_id,contacted_on\na,yes\n", "line 2, column 'contacted_on': 'yes'.*as 2024-03-31"),
        ("user_id,list\na,1\nb,2\n", "line 3, column 'list': '2'.*of one list"),
        ("user_id,list\na,one\n", "line 2, column 'list': 'one'.*whole number"),
        ('user_id,list\n"a\u200b",1\n', "line 2, column 'user_id'.*an id is"),
        (
            "user_id,contacted_on\na,2024-03-01\na,2024-03-02\n",
            "line 3.*on the same day",
        ),
        ("user_id\n", "it has no row"),
    ],
)
def test_each_wrong_value_is_told_with_its_place_and_rule(
    tmp_path: Path, content: str, said: str
) -> None:
    with pytest.raises(ContactsRefused, match=said):
        read(tmp_path / "back.csv", content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"id\na\n", "0 columns 'user_id'; its columns are 'id'"),
        ("a.csv", b"", "its columns are none"),
        ("a.csv", b"user_id,list\na\n", "line 2 has 1 value"),
        ("a.csv", b"user_id\n\xff\xfe\n", "line 2 isn't UTF-8"),
        ("a.csv", b"PK\x03\x04", "a workbook or an archive"),
        ("a.xlsx", b"user_id\n", "it isn't a workbook"),
        ("a.parquet", b"user_id\n", "it isn't sound Parquet"),
    ],
)
def test_what_isnt_a_file_of_contacts_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(UnreadableFile, match=said):
        read(tmp_path / name, content)


def test_a_file_that_isnt_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFiles):
        read_contacts(tmp_path / "gone.csv", "user_id", TODAY)
