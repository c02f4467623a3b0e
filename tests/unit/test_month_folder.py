"""What a month's folder lacks is told with what lies there instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamflow.errors import MissingFiles
from streamflow.history.files.month_folder import find_files
from streamflow.use_case import Table

USERS, LABELS = Table("users", None), Table("labels", None, arrives_later=True)  # type: ignore[arg-type]


def refusal(folder: Path, table: Table) -> str:
    with pytest.raises(MissingFiles) as caught:
        find_files(folder, (table,))
    assert "`streamflow ingest DIR`" in caught.value.next
    return caught.value.message


def test_the_files_of_a_folder_are_found_by_their_tables(tmp_path: Path) -> None:
    (tmp_path / "users.csv").touch()
    assert find_files(tmp_path, (USERS, LABELS)) == {"users": tmp_path / "users.csv"}
    (tmp_path / "labels.parquet").touch()
    assert list(find_files(tmp_path, (USERS, LABELS))) == ["users", "labels"]


@pytest.mark.parametrize("table", [USERS, LABELS], ids=lambda table: table.name)
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{}.csv.bz2", "which is compressed: unpack it"),
        ("{}.parquet.zst", "which is compressed: unpack it"),
        ("{}.CSV", "rename it to {}.csv"),
        (" {}.csv ", "rename it to {}.csv"),
    ],
)
def test_a_file_under_a_similar_name_is_told(
    tmp_path: Path, table: Table, name: str, told: str
) -> None:
    there = name.format(table.name)
    (tmp_path / there).touch()
    message = refusal(tmp_path, table)
    assert f"lacks {table.name}.csv. There is {there!r}" in message
    assert told.format(table.name) in message


def test_a_folder_and_a_broken_link_are_told(tmp_path: Path) -> None:
    (tmp_path / "users.csv").mkdir()
    assert "There is 'users.csv', which is a folder" in refusal(tmp_path, USERS)
    (tmp_path / "labels.csv").symlink_to(tmp_path / "nowhere")
    assert "There is 'labels.csv', a link to nothing" in refusal(tmp_path, LABELS)


def test_another_ending_is_told_where_the_table_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "users.dat").touch()
    (tmp_path / "labels.md").touch()
    assert "There is 'users.dat', whose name ends otherwise" in refusal(tmp_path, USERS)
    assert find_files(tmp_path, (LABELS,)) == {}
