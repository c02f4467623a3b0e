from __future__ import annotations

import csv
import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.entity_id import PATTERN
from streamflow.errors import MissingFiles, UnreadableFile
from streamflow.pipeline.id_file import chunks


@pytest.fixture
def read(tmp_path):
    """The ids in a file of these bytes (or this text)."""

    def read(content, column="user_id"):
        file = tmp_path / "ids.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(chain.from_iterable(chunks(file, column)))

    return read


def test_a_file_with_an_id_a_line_is_read_from_its_first_line(read):
    assert read("ann\nbob\neve\n") == ["ann", "bob", "eve"]


def test_a_file_with_a_column_of_ids_is_read_below_its_header(read):
    assert read("user_id\nann\nbob\n") == ["ann", "bob"]


def test_the_column_is_found_by_its_name_wherever_it_is(read):
    assert read("name,user_id,city\nAnn,a1,Oslo\nBob,b1,Rome\n") == ["a1", "b1"]
    assert read("name,shop-id\nAnn,s1\n", column="shop-id") == ["s1"]


def test_ids_keep_their_order_and_may_come_twice(read):
    assert read("bob\nann\nbob\n") == ["bob", "ann", "bob"]


@pytest.mark.parametrize(
    "content",
    [
        "ann\nbob",
        "ann\r\nbob\r\n",
        "ann\rbob\r",
        "ann\n\nbob\n\n\n",
        '"ann"\n"bob"\n',
        "\ufeffann\nbob\n",
        "\ufeffuser_id\nann\nbob\n",
        '\ufeff"user_id",other\r\nann,\r\nbob,1\r\n',
        "user_id\n\nann\nbob\n",
        "\nann\nbob\n",
        "\n\nuser_id\nann\nbob\n",
    ],
)
def test_a_file_may_be_dressed_in_the_usual_ways(read, content):
    assert read(content) == ["ann", "bob"]


def test_an_id_is_taken_as_it_is(read):
    assert read('user_id,x\n"a,b",1\n"a""b",1\n a ,1\n007,1\nÅsa,1\n') == [
        *("a,b", 'a"b', " a ", "007", "Åsa")
    ]


def test_a_header_without_ids_is_no_id(read):
    assert read("user_id\n") == []


def test_a_file_of_thousands_comes_a_thousand_at_a_time(tmp_path):
    file = tmp_path / "ids.csv"
    ids = [f"u{number}" for number in range(2_500)]
    file.write_text("\n".join(ids))
    found = list(chunks(file, "user_id"))
    assert [len(chunk) for chunk in found] == [1_000, 1_000, 500]
    assert list(chain.from_iterable(found)) == ids


def test_a_file_is_not_read_further_than_it_was_asked_for(tmp_path):
    file = tmp_path / "ids.csv"
    file.write_text("u\n" * 50_000 + "\x00")
    assert next(chunks(file, "user_id")) == ["u"] * 1_000


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFiles, match=r"nothing\.csv"):
        list(chunks(tmp_path / "nothing.csv", "user_id"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "its first line has no column 'user_id'"),
        ("name,city\nAnn,Oslo\n", "its first line has no column 'user_id'"),
        ("name,user_id\nAnn,a1\nBob\n", "line 3 has no 'user_id'"),
        ("name,user_id\nAnn,a1\n\nBob\n", "line 4 has no 'user_id'"),
        ("name,user_id\nAnn,\n", "line 2 has no id of 1 to 64 visible characters"),
        ("ann\n" + "x" * 65, "line 2 has no id"),
        ("x" * 65, "line 1 has no id"),
        ("\n\n" + "x" * 65, "line 3 has no id"),
        ('ann\n"b\nob"\n', "line 3 has no id"),
        ("ann\nb\tob\n", "line 2 has no id"),
        ("ann\nbo\u202eb\n", "line 2 has no id"),
        ("ann\n" + "x" * 200_000, "field limit"),
        (b"ann\nb\xff\n", "utf-8"),
        ("ann\nbob\n".encode("utf-16"), "utf-8"),
        (b"ann\nb\x00b\n", "ids.csv can't be read"),
        (b"PK\x03\x04\x14\x00\x06\x00", "ids.csv can't be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(read, content, told):
    with pytest.raises(UnreadableFile, match=re.escape(told)) as refused:
        read(content)
    assert "x" * 65 not in refused.value.message


def test_a_folder_is_no_file_of_ids(tmp_path):
    with pytest.raises(UnreadableFile):
        list(chunks(tmp_path, "user_id"))


def test_the_longest_id_is_a_valid_one(read):
    assert read("x" * 64) == ["x" * 64]


@pytest.mark.parametrize("odd", ["山田\u3000太郎", "\ue000"])
def test_an_id_that_the_api_answers_may_be_in_a_file_too(read, odd):
    assert re.fullmatch(PATTERN, odd)
    assert read(f"ann\n{odd}\n") == ["ann", odd]


visible = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
columns = st.lists(st.text(visible, min_size=1, max_size=8), unique=True, max_size=4)


@given(columns, st.lists(st.text(visible, min_size=1, max_size=64), max_size=30), st.data())
def test_whatever_csv_holds_is_what_is_read(tmp_path_factory, others, ids, data):
    file = tmp_path_factory.getbasetemp() / "ids.csv"
    others = [name for name in others if name != "user_id"]
    header = data.draw(st.permutations([*others, "user_id"]))
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(header)
        rows.writerows([one if name == "user_id" else "x" for name in header] for one in ids)
    assert list(chain.from_iterable(chunks(file, "user_id"))) == ids
