"""Files in each dialect, loaded by `streamflow ingest` as the contract says: one history."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import url_of
from tests.e2e import forked
from tests.excel import write_workbook
from tests.statements import execute

from streamflow.bootstrap import platform
from streamflow.settings import Settings, load_settings

HEAD = ("gauge", "level", "count", "open", "checked", "place")
EXPECTED = [
    ("g1", 1234.5, 1200000, True, date(2024, 1, 5), "Köln; west"),
    ("g2", None, None, None, None, None),
    ("g3", -0.25, 7, False, date(2023, 12, 31), "Orléans"),
]

MODULE = """
from streamflow.use_case import Csv, Label, Table, UseCase


def tables():
    from pandera.pandas import Column, DataFrameSchema

    gauges = DataFrameSchema(
        {{
            "gauge": Column("string"),
            "level": Column("Float64", nullable=True),
            "count": Column("Int64", nullable=True),
            "open": Column("boolean", nullable=True),
            "checked": Column("date", nullable=True),
            "place": Column("string", nullable=True),
            "floods": Column("boolean"),
        }}
    )
    return (Table("gauges", gauges, {read}),)


def features():
    from datetime import timedelta

    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.types import Float64
    from streamflow.features import history_source

    gauge = Entity(name="gauge", join_keys=["gauge"], value_type=ValueType.STRING)
    view = FeatureView(
        name="gauges_fv",
        entities=[gauge],
        ttl=timedelta(days=45),
        schema=[Field(name="level", dtype=Float64)],
        source=history_source("gauges"),
    )
    return [gauge, view, FeatureService(name="gauges_v1", features=[view])]


def tree(random_state):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, random_state=random_state)


use_case = UseCase(
    name="gauging",
    registered_model="gauging",
    join_key="gauge",
    entity_table="gauges",
    tables=tables,
    label=Label("gauges", "floods"),
    features=features,
    feature_service="gauges_v1",
    models={{"tree": tree}},
    default_model="tree",
    acceptance={{}},
)
"""


def text(separator: str, *rows: Sequence[str]) -> str:
    """The head and the rows as CSV; each row has also whether the gauge floods."""
    written = io.StringIO()
    write = csv.writer(written, delimiter=separator)
    write.writerow([*HEAD, "floods"])
    write.writerows(rows)
    return written.getvalue()


GERMAN = text(
    ";",
    ["g1", "1.234,5", "1.200.000", "Ja", "05.01.2024", "Köln; west", "Nein"],
    ["g2", "k.A.", "", "k.A.", "", "k.A.", "Ja"],
    ["g3", "-0,25", "7", "Nein", "31.12.2023", "Orléans", "Ja"],
)
GERMAN_READ = (
    'separator=";", decimal=",", thousands=".", date="DD.MM.YYYY", null=("", "k.A."), '
    'true=("Ja",), false=("Nein",)'
)
PLAIN = text(
    ",",
    ["g1", "1234.5", "1200000", "true", "2024-01-05", "Köln; west", "false"],
    ["g2", "", "", "", "", "", "true"],
    ["g3", "-0.25", "7", "false", "2023-12-31", "Orléans", "true"],
)
FRENCH = text(
    "\t",
    ["g1", "1 234,5 cm", "1 200 000", "oui", "05/01/2024", "Köln; west", "non"],
    ["g2", "NA", "NA", "NA", "NA", "NA", "oui"],
    ["g3", "-0,25 cm", "7", "non", "31/12/2023", "Orléans", "oui"],
)
FRENCH_READ = (
    'separator="\\t", decimal=",", thousands=" ", date="DD/MM/YYYY", null=("NA",), '
    'true=("oui",), false=("non",), units=("cm",), encoding="utf-16"'
)
PIPES = text(
    "|",
    ["g1", "1,234.5", "1,200,000", "Y", "01/05/2024", "Köln; west", "N"],
    ["g2", "NULL", "NULL", "NULL", "NULL", "NULL", "Y"],
    ["g3", "-.25", "7.0", "N", "12/31/2023", "Orléans", "Y"],
)
PIPES_READ = (
    'separator="|", thousands=",", date="MM/DD/YYYY", null=("NULL",), true=("Y",), false=("N",)'
)


def encoded(content: str, encoding: str, name: str = "gauges.csv") -> Callable[[Path], object]:
    """Writes the text in an encoding, compressed where the name ends in .gz."""

    def write(folder: Path) -> object:
        there = content.encode(encoding)
        return (folder / name).write_bytes(gzip.compress(there) if name.endswith(".gz") else there)

    return write


def workbook(folder: Path) -> object:
    rows = [[*EXPECTED[0], False], [*EXPECTED[1], True], [*EXPECTED[2], True]]
    sheet = [["Gauges of January"], [], [*HEAD, "floods"], *rows, ["Total", 3]]
    return write_workbook(folder / "levels.xlsx", {"About": [["no table"]], "Levels": sheet})


def parquet(folder: Path) -> object:
    import pyarrow as pa
    import pyarrow.parquet

    columns: dict[str, Any] = dict(zip(HEAD, map(list, zip(*EXPECTED, strict=True)), strict=True))
    columns["count"] = pa.array(columns["count"], pa.float64())  # for its null
    columns["place"] = pa.array(columns["place"]).dictionary_encode()
    columns["floods"] = ["Nein", "Ja", "Ja"]
    return pa.parquet.write_table(pa.table(columns), folder / "gauges.parquet")


SKIPPED = "Export of 31.01.2024\r\n\r\n" + GERMAN + "Summe;1.234,25;;;;;\r\n"
FORMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "plain": (encoded(PLAIN, "utf-8"), ""),
    "plain, with a byte order mark": (encoded(PLAIN, "utf-8-sig"), ""),
    "gzip": (encoded(PLAIN, "utf-8", "gauges.csv.gz"), ""),
    "German in cp1252": (encoded(GERMAN, "cp1252"), f'{GERMAN_READ}, encoding="cp1252"'),
    "German in gzip": (encoded(GERMAN, "utf-8", "gauges.csv.gz"), GERMAN_READ),
    "a title above, a sum below": (
        encoded(SKIPPED, "utf-8"),
        f'{GERMAN_READ}, skip_lines=2, total_rows=("Summe",)',
    ),
    "French in UTF-16": (encoded(FRENCH, "utf-16"), FRENCH_READ),
    "American with bars": (encoded(PIPES, "utf-8"), PIPES_READ),
    "a workbook": (workbook, 'skip_lines=2, total_rows=("Total",)'),
    "Parquet": (parquet, 'true=("Ja",), false=("Nein",)'),
}


def load(
    tmp_path: Path, environment: dict[str, str], write: Callable[[Path], object], read: str
) -> Any:
    """What `streamflow ingest` says of a month that is written so and read so."""
    month = tmp_path / "month"
    month.mkdir()
    write(month)
    more = 'file="levels", sheet="Levels", ' if (month / "levels.xlsx").exists() else ""
    (tmp_path / "gauging.py").write_text(MODULE.format(read=f"{more}read=Csv({read})"), "utf-8")
    environment = {**environment, "PYTHONPATH": str(tmp_path), "STREAMFLOW_USE_CASE": "gauging"}
    arguments = ("ingest", "month", "--as-of", "2024-01-31", "--json")
    done = forked.run(arguments, environment, tmp_path)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_a_dialect_is_the_history_that_it_means(
    form: str, tmp_path: Path, environment: dict[str, str], settings: Settings
) -> None:
    code, said = load(tmp_path, environment, *FORMS[form])
    assert code == 0, said
    assert said["gauges"]["added"] == 3
    with platform(load_settings(home=settings.home, database_url=url_of(settings))) as opened:
        rows = execute(
            opened.database,
            "SELECT gauge, level, count, open, checked, place "
            "FROM gauging.gauges_history ORDER BY gauge",
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == EXPECTED


REFUSED: dict[str, tuple[str, list[str]]] = {
    "German": (GERMAN, ["gauges.csv, line 1", 'read=Csv(separator=";")']),
    "German with its separator": (
        GERMAN,
        [
            "gauges.csv, line 2, column 'level': '1.234,5' breaks the rule",
            'read=Csv(decimal=",", thousands=".")',
            "line 2, column 'checked': '05.01.2024'",
            'read=Csv(date="DD.MM.YYYY")',
            "line 2, column 'open': 'Ja'",
            'read=Csv(true=("Ja",), false=("Nein",))',
        ],
    ),
    "words for no value": (
        text(",", ["g1", "k.A.", "1", "k.A.", "2024-01-05", "k.A.", "true"]),
        [
            "gauges.csv, line 2, column 'level': 'k.A.' breaks the rule: a value is a",
            "line 2, column 'open': 'k.A.'",
            'read=Csv(null=("", "k.A."))',
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSED)
def test_what_the_contract_does_not_say_is_refused_with_the_line_to_write(
    what: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    content, parts = REFUSED[what]
    read = 'separator=";"' if "separator" in what else ""
    code, said = load(tmp_path, environment, encoded(content, "utf-8"), read)
    assert code == 1
    for part in parts:
        assert part in said["message"], said
