"""Every command block of the Start pages is run in its order, and says what the page shows."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.conftest import url_of
from tests.documented import Shell, commands, lacking, try_page
from tests.documented_reader import DOCS, SERVERS, prepare, reader

from streamflow.settings import Settings


@pytest.mark.skipif(
    "STREAMFLOW_LONG_TESTS" not in os.environ,
    reason="minutes, on a machine that does nothing else: STREAMFLOW_LONG_TESTS=1",
)
def test_the_quickstart(homes: Path, tmp_path: Path) -> None:
    page = DOCS / "quickstart.md"
    found = commands(page)
    assert len(found) > 20
    with reader(homes, tmp_path) as shell:
        wrong = list(try_page(shell, page, found, servers=SERVERS))
        assert wrong == [], "\n\n".join(wrong)
        (program,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        (tmp_path / "from_mlflow.py").write_text(shell._here(program), encoding="utf-8")
        code, output = shell.run("python from_mlflow.py")
        assert code == 0, output
        assert lacking(["       prediction  probability", "    0   0   0.143792"], output) == []


@pytest.mark.slow
def test_a_use_case_of_ones_own_by_hand(homes: Path, tmp_path: Path) -> None:
    page = DOCS / "bring-your-own-use-case.md"
    text = page.read_text(encoding="utf-8")
    (tmp_path / "pumps.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    # The page's last month is one whose labels aren't known yet.
    month = datetime.now(UTC).date() - timedelta(days=1)
    found = commands(page, after="## Check it")
    with reader(homes, tmp_path, **{"2026-10-31": month.isoformat()}) as shell:
        shell.run("export STREAMFLOW_USE_CASE=pumps PYTHONPATH=$PWD")
        wrong = list(try_page(shell, page, found, servers=SERVERS))
        assert wrong == [], "\n\n".join(wrong)


# Exports of each month, in folders whose names have it, and in one file for each table.
EXPORTS = """
import csv
from pathlib import Path

Path("export").mkdir()
for number in range(14):
    month = f"{2024 + number // 12}-{number % 12 + 1:02d}"
    Path(f"data/month_{number:03d}").rename(f"exports/{month}")
    for path in sorted(Path(f"exports/{month}").iterdir()):
        with path.open(newline="") as file, Path("export", path.name).open("a", newline="") as long:
            head, *rows = csv.reader(file)
            write = csv.writer(long, lineterminator="\\n")
            write.writerows([["month", *head]] if number == 0 else [])
            write.writerows([month, *row] for row in rows)
"""


@pytest.mark.slow
def test_the_guide_to_several_months(homes: Path, tmp_path: Path, settings: Settings) -> None:
    page = DOCS / "several-months.md"
    found = commands(page)
    generate = next(one.text for one in found if one.text.startswith("streamflow generate"))
    ingest = next(one.text for one in found if "--as-of-pattern" in one.text)
    (tmp_path / "exports.py").write_text(EXPORTS, encoding="utf-8")
    before = {
        "streamflow ingest data/month_001": "cp -r exports/2024-02 data/month_001",
        "streamflow models": "streamflow evaluate 4 --as-of 2024-07-31",
        "curl": "streamflow promote 1 --to production --override quality "
        "--override calibration --why first && streamflow materialize --as-of 2024-03-31",
    }
    serve = {"curl": "streamflow serve"}
    with reader(homes, tmp_path, url_of(settings)) as shell:
        prepare(shell, generate, "mkdir exports", "python exports.py", ingest, "streamflow apply")
        prepare(shell, "streamflow train --as-of 2024-01-31")
        wrong = list(try_page(shell, page, found, before=before, serve=serve, servers=SERVERS))
        assert wrong == [], "\n\n".join(wrong)


def test_a_page_that_shows_what_a_command_does_not_say_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "    $ echo 3 rows in 0.4 s \\\n        and more\n    1 rows in 2.1 s and more\n\n"
        "Words.\n\n    $ echo one\n    two\n    …\n    $ false\n    error: no\n",
        encoding="utf-8",
    )
    first, second, third = commands(page)
    assert first.text == "echo 3 rows in 0.4 s \\\n    and more"
    assert lacking(first.shown, "3 rows in 0.4 s and more") == []
    assert lacking(second.shown, "one") == ["two"]
    assert (third.line, third.shown) == (10, ["error: no"])
    shell = Shell(tmp_path, {}, {"one": "two"})
    assert [shell.run(each.text) for each in (first, second, third)] == [
        *((0, "3 rows in 0.4 s and more\n\n"), (0, "two\n\n"), (1, "\n")),
    ]
    shell.close()
