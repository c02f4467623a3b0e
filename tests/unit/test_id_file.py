from __future__ import annotations

import csv
import re
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow.entity_id import PATTERN
from streamflow.errors import MissingFiles, UnreadableFile
from streamflow.pipeline.id_file import chunks


@pytest.fixture
def read(tmp_path):
    """The ids in a file of these bytes (or this text)."""

    def read(content, column="user_id", header=True):
        file = tmp_path / "ids.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(chain.from_iterable(chunks(file, column, header=header)))

    return read


def refused(error, told, next):
    assert told in error.value.message
    assert next in error.value.next


def test_a_file_with_an_id_a_line_is_read_from_its_first_line_if_that_is_said(read):
    assert read("ann\nbob\neve\n", header=False) == ["ann", "bob", "eve"]
    with pytest.raises(UnreadableFile) as error:
        read("ann\nbob\neve\n")
    refused(error, "its first line isn't the header 'user_id', but 'ann'", "add --no-header")


def test_a_header_is_no_id(read):
    for header in ("user_id\n", "name,user_id\n"):
        with pytest.raises(UnreadableFile) as error:
            read(header + "ann\n", header=False)
        refused(error, "its first line is the header 'user_id'", "Leave out --no-header")


def test_a_file_with_a_column_of_ids_is_read_below_its_header(read):
    assert read("user_id\nann\nbob\n") == ["ann", "bob"]


def test_the_column_is_found_by_its_name_wherever_it_is(read):
    assert read("name,user_id,city\nAnn,a1,Oslo\nBob,b1,Rome\n") == ["a1", "b1"]
    assert read("name,shop-id\nAnn,s1\n", column="shop-id") == ["s1"]


def test_ids_keep_their_order_and_may_come_twice(read):
    assert read("user_id\nbob\nann\nbob\n") == ["bob", "ann", "bob"]


@pytest.mark.parametrize(
    "content",
    [
        "ann\nbob",
        "ann\r\nbob\r\n",
        "ann\rbob\r",
        "ann\n\nbob\n\n\n",
        '"ann"\n"bob"\n',
        "\nann\nbob\n",
    ],
)
def test_a_file_may_be_dressed_in_the_usual_ways(read, content):
    assert read(content, header=False) == ["ann", "bob"]
    assert read("\ufeff" + content, header=False) == ["ann", "bob"]
    assert read("user_id\n" + content.replace("\r\n", "\n").replace("\r", "\n")) == ["ann", "bob"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffuser_id\nann\nbob\n",
        '\ufeff"user_id",other\r\nann,\r\nbob,1\r\n',
        "user_id\n\nann\nbob\n",
        "\n\nuser_id\nann\nbob\n",
        "user_id\rann\rbob\r",
    ],
)
def test_a_header_may_be_dressed_in_the_usual_ways(read, content):
    assert read(content) == ["ann", "bob"]


def test_an_id_is_taken_as_it_is(read):
    assert read('user_id,x\n"a,b",1\n"a""b",1\n a ,1\n007,1\nÅsa,1\n') == [
        *("a,b", 'a"b', " a ", "007", "Åsa")
    ]


def test_a_header_without_ids_is_no_id(read):
    assert read("user_id\n") == []


def test_a_file_of_many_ids_comes_in_parts(tmp_path):
    file = tmp_path / "ids.csv"
    ids = [f"u{number}" for number in range(140_000)]
    file.write_text("\n".join(["user_id", *ids]))
    found = list(chunks(file, "user_id"))
    assert [len(chunk) for chunk in found] == [65_536, 65_536, 8_928]
    assert list(chain.from_iterable(found)) == ids


def test_a_file_is_not_read_further_than_it_was_asked_for(tmp_path):
    file = tmp_path / "ids.csv"
    file.write_text("user_id\n" + "u\n" * 100_000 + "\x00")
    assert next(chunks(file, "user_id")) == ["u"] * 65_536


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFiles, match=r"nothing\.csv"):
        list(chunks(tmp_path / "nothing.csv", "user_id"))


@pytest.mark.parametrize(
    ("content", "told", "next"),
    [
        ("", "it is empty", "Write the header 'user_id'"),
        ("\n\n", "it is empty", "Write the header 'user_id'"),
        ("id\nann\n", "isn't the header 'user_id', but 'id'", "Write 'user_id' above the ids"),
        ("USER_ID\nann\n", "no column 'user_id', but 'USER_ID'", "Name that column 'user_id'"),
        ("user_id ,x\nann,1\n", "no column 'user_id', but 'user_id '", "Name that column"),
        ("user_id;x\nann;1\n", "as if separated by ';'", "with commas"),
        ('x;"user_id"\n1;ann\n', "as if separated by ';'", "with commas"),
        ("x\tuser_id\n1\tann\n", "as if separated by tabs", "with commas"),
        ("x|user_id\n1|ann\n", "as if separated by '|'", "with commas"),
        ("sep=,\nuser_id,x\nann,1\n", "its first line is 'sep=,', no header", "Leave out"),
        ("user_id,x,user_id\na,b,c\n", "the column 'user_id' twice", "Leave one of them out"),
        ("name,city\nAnn,Oslo\n", "its columns are 'name', 'city'", "Name the column of ids"),
        ("name,user_id\nAnn,a1\nBob\n", "line 3 has 1 value(s), and the header 2", "Give each"),
        ("name,user_id\nBo, Ann,a1\n", "line 2 has 3 value(s), and the header 2", "quote"),
        ("name,user_id\nAnn,a1\n\nBob\n", "line 4 has 1 value(s)", "Give each"),
        ("name,user_id\nAnn,\n", "line 2 has no id, which is 1 to 64 characters", "Correct"),
        ("user_id\nann\n" + "x" * 65, "line 3 has no id", "Correct"),
        ('user_id\nann\n"b\nob"\n', "line 4 has no id", "Correct"),
        ("user_id\nann\nb\tob\n", "line 3 has no id", "Correct"),
        ("user_id\nann\nbo\u202eb\n", "line 3 has no id", "Correct"),
        ("user_id\nann\n" + "x" * 200_000, "field limit", "Write it as CSV"),
        ('user_id\n"ann"x\n', "line 2 or later", "Write it as CSV"),
        ('user_id\n"ann\n', "or later", "Write it as CSV"),
        (b"user_id\nann\nb\xff\n", "utf-8", "Write it as CSV"),
        ("user_id\nann\n".encode("utf-16"), "it is UTF-16, not UTF-8", "Write it as CSV"),
        (b"user_id\nann\nb\x00b\n", "ids.csv can't be read", "C"),
        (b"PK\x03\x04\x14\x00\x06\x00", "it is a spreadsheet or an archive", "Write it as CSV"),
        (b"\x1f\x8b\x08\x00", "it is compressed", "Write it as CSV"),
        (b"PAR1\x15", "it is a Parquet file by its content", "NAME.parquet"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(read, content, told, next):
    with pytest.raises(UnreadableFile) as error:
        read(content)
    refused(error, told, next)
    assert "x" * 65 not in error.value.message


def test_a_file_with_an_id_a_line_has_one_id_a_line(read):
    with pytest.raises(UnreadableFile) as error:
        read("ann\nbob,5\n", header=False)
    refused(error, "line 2 has 2 values", "without --no-header")


@pytest.fixture
def parquet(tmp_path):
    """The ids in a Parquet file with these columns."""

    def read(columns, column="user_id"):
        file = tmp_path / "ids.parquet"
        pq.write_table(pa.table(columns), file)
        return list(chain.from_iterable(chunks(file, column)))

    return read


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary("int8", "string")])
def test_ids_may_be_in_a_parquet_file(parquet, kind):
    ids = pa.array(["bob", "ann", "bob"]).cast(kind)
    assert parquet({"n": [1, 2, 3], "user_id": ids}) == ["bob", "ann", "bob"]


@pytest.mark.parametrize(
    ("columns", "told", "next"),
    [
        ({"id": ["ann"]}, "isn't the header 'user_id', but 'id'", "Write 'user_id'"),
        ({"USER_ID": ["ann"]}, "no column 'user_id', but 'USER_ID'", "Name that column"),
        ({"user_id": [1, 2]}, "its column 'user_id' has the type int64", "as text"),
        ({"user_id": [b"ann"]}, "has the type binary", "as text"),
        ({"user_id": ["ann", None]}, "line 3 has no id", "Correct"),
        ({"user_id": ["ann", ""]}, "line 3 has no id", "Correct"),
    ],
)
def test_what_is_wrong_with_a_parquet_file_is_told(parquet, columns, told, next):
    with pytest.raises(UnreadableFile) as error:
        parquet(columns)
    refused(error, told, next)


@pytest.mark.parametrize("damage", [b"user_id\nann\n", b"", b"PAR1" + bytes(200) + b"PAR1"])
def test_a_parquet_file_is_one_by_its_content_too(tmp_path, damage):
    file = tmp_path / "ids.parquet"
    file.write_bytes(damage)
    with pytest.raises(UnreadableFile, match="isn't sound Parquet"):
        list(chunks(file, "user_id"))


def test_a_damaged_page_of_a_parquet_file_is_told(tmp_path):
    file = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"user_id": [f"u{n}" for n in range(2000)]}), file)
    content = bytearray(file.read_bytes())
    content[40:120] = bytes(80)
    file.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"ids\.parquet"):
        list(chunks(file, "user_id"))


def test_a_folder_is_no_file_of_ids(tmp_path):
    with pytest.raises(UnreadableFile, match="directory"):
        list(chunks(tmp_path, "user_id"))


def test_the_longest_id_is_a_valid_one(read):
    assert read("x" * 64, header=False) == ["x" * 64]


@pytest.mark.parametrize("odd", ["山田\u3000太郎", "\ue000"])
def test_an_id_that_the_api_answers_may_be_in_a_file_too(read, odd):
    assert re.fullmatch(PATTERN, odd)
    assert read(f"ann\n{odd}\n", header=False) == ["ann", odd]


visible = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
columns = st.lists(st.text(visible, min_size=1, max_size=8), unique=True, max_size=4)


@given(columns, st.lists(st.text(visible, min_size=1, max_size=64), max_size=30), st.data())
def test_whatever_a_file_holds_is_what_is_read(tmp_path_factory, others, ids, data):
    file = tmp_path_factory.getbasetemp() / "ids.csv"
    others = [name for name in others if name != "user_id"]
    header = data.draw(st.permutations([*others, "user_id"]))
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(header)
        rows.writerows([one if name == "user_id" else "x" for name in header] for one in ids)
    assert list(chain.from_iterable(chunks(file, "user_id"))) == ids
    pq.write_table(
        pa.table({name: ids if name == "user_id" else ["x"] * len(ids) for name in header}),
        file.with_suffix(".parquet"),
    )
    if ids:  # a column without a value has no type of its own
        assert list(chain.from_iterable(chunks(file.with_suffix(".parquet"), "user_id"))) == ids


@given(
    st.lists(st.text(visible, min_size=1, max_size=8), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_a_file_without_the_very_column_is_always_refused(tmp_path_factory, header, separator):
    file = tmp_path_factory.getbasetemp() / "other.csv"
    header = ["user_id" if name.casefold() == "user_id" else name for name in header]
    with file.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines, delimiter=separator).writerows([header, ["ann"] * len(header)])
    if header.count("user_id") != 1 or (separator != "," and len(header) > 1):
        with pytest.raises(UnreadableFile):
            list(chunks(file, "user_id"))
