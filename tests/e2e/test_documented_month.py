"""Every command block of the month's guides is run in its order, and says what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import url_of
from tests.documented_reader import Pages, reader

from streamflow.settings import Settings

# The day of a contact for most of those who are to be contacted.
CONTACTED = """
import csv

with open("contacts.csv", newline="") as file:
    rows = list(csv.DictReader(file))
for number, row in enumerate(rows):
    row["contacted_on"] = "2024-02-05" * (row["assignment"] == "contact" and number % 8 > 0)
with open("contacts.csv", "w", newline="") as file:
    write = csv.DictWriter(file, rows[0])
    write.writeheader()
    write.writerows(rows)
"""


@pytest.mark.slow
def test_the_guides_of_a_month(homes: Path, tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "contacted.py").write_text(CONTACTED, encoding="utf-8")
    asked = (
        "curl -s http://127.0.0.1:8000/predict -H 'X-Request-Id: 200317fc1e824d048763c459dd2c2175' "
        "-H 'Content-Type: application/json' -d '{\"user_id\": \"7089-QCXNI\"}' && sleep 2"
    )
    before = {
        "streamflow campaign record": "python contacted.py",
        "streamflow explain-prediction": asked,
    }
    with reader(homes, tmp_path, url_of(settings)) as shell:
        pages = Pages(shell, before)
        pages.run("month.md", sections="To try it")
        pages.run("month.md", without="To try it, Report, Forget")
        pages.run("month.md", sections="Report")
        pages.serve("streamflow serve")
        pages.run("receipts.md")
        pages.run("reproduce.md", sections="Re-creating a run")
        pages.run("month.md", sections="Forget")
        pages.run("reproduce.md", sections="When somebody was forgotten")
    assert pages.wrong == [], "\n\n".join(pages.wrong)
