"""An id in logs and reports is masked, however it's written; other ids and the length stay."""

from __future__ import annotations

import html
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow.entity_id import is_id
from streamflow.operations.forgetting import rows_of_files, texts

IDS = st.text(min_size=4, max_size=12).filter(is_id)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a log"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS, st.integers(0, 5))
def test_an_id_is_masked_however_it_is_written(file: Path, entity: str, form: int) -> None:
    csv = entity.replace('"', '""')
    written = (
        f'a "{csv}", b',
        f"{{{json.dumps(entity)}: 1}}",
        f"<td>{html.escape(entity)}</td>",
        f"GET /scores/{quote(entity, safe='')} 200",
        f"DETAIL:  Key (user_id)=({entity}) already exists.",
        f'{{"x": "{json.dumps(entity, ensure_ascii=False)[1:-1]}"}}',
    )[form].encode()
    file.write_bytes(b"before\n" + written + b"\nafter\n")

    assert texts.mask(file, texts.patterns([entity])) > 0

    content = file.read_bytes()
    assert len(content) == len(written) + 14
    assert content.startswith(b"before\n")
    assert content.endswith(b"\nafter\n")
    assert texts.mask(file, texts.patterns([entity])) == 0


@pytest.mark.parametrize(
    ("entity", "text", "masked"),
    [
        (
            "m-0007",
            "m-0007 m-00071 xm-0007 m-0007-b m-0007.",
            "****** m-00071 xm-0007 m-0007-b ******.",
        ),
        ("7", '7 rows in 7 s, user "7", (id)=(7)', '7 rows in 7 s, user "*", (id)=(*)'),
        ("2026", "2026-11-28 user '2026'", "2026-11-28 user '****'"),
        ("ab", "ab <td>ab</td> /ab", "ab <td>**</td> /**"),
    ],
)
def test_what_only_looks_like_the_id_stays(file: Path, entity: str, text: str, masked: str) -> None:
    file.write_text(text)
    texts.mask(file, texts.patterns([entity]))
    assert file.read_text() == masked


def test_a_line_of_csv_goes_and_all_other_bytes_stay(file: Path) -> None:
    others = ["name,user_id,x\r\n", '"a\nb",u1,1\r\n', 'c,"u""2",é\r\n']
    mine = ['"x\ny",gone,2\r\n', 'z,"gone",3\r\n']
    file.write_bytes("".join([others[0], mine[0], others[1], mine[1], others[2]]).encode())

    assert rows_of_files.leave_out_of_csv(file, "user_id", {"gone"}) == 2
    assert file.read_bytes() == "".join(others).encode()
    assert rows_of_files.leave_out_of_csv(file, "user_id", {"gone"}) == 0
    assert rows_of_files.leave_out_of_csv(file, "another", {"u1"}) == 0
