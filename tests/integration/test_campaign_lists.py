"""Lists of whom to contact, from scores that are there to what a campaign brought."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from tests import tiny_case
from tests.conftest import url_of
from tests.excel import write_workbook
from tests.scored import record_scores
from typer.testing import CliRunner, Result

from streamflow.bootstrap import platform
from streamflow.cli.main import app
from streamflow.pipeline.ingest import ingest
from streamflow.pipeline.month.lists import campaign, export_list
from streamflow.pipeline.month.lists.campaign import OtherList
from streamflow.pipeline.month.lists.export_list import Choice, Exported, LimitRefused
from streamflow.platform import Platform
from streamflow.scores.campaigns import list_file, recorded
from streamflow.scores.campaigns.candidates import candidates
from streamflow.scores.campaigns.contact_file import ContactsRefused
from streamflow.scores.campaigns.list_file import Column, Format
from streamflow.scores.campaigns.recorded import UnknownList
from streamflow.scores.campaigns.selection import Limits
from streamflow.settings import load_settings
from streamflow.use_case import Generation, Table, Value

JANUARY, FEBRUARY = date(2024, 1, 31), date(2024, 2, 29)
KNOWN = datetime(2024, 2, 1, tzinfo=UTC)
NOW = datetime(2024, 2, 4, 12, tzinfo=UTC)
LATER = datetime(2024, 3, 4, 12, tzinfo=UTC)
MODEL = tiny_case.use_case.registered_model
MACHINES = 400
BY_AGE = Value(column="machines.age_weeks", months=2, success=0.5, cost=10.0, unit="EUR")


def tables() -> tuple[Table, ...]:
    return tuple(
        replace(table, arrives_later=True) if table.name == "failures" else table
        for table in tiny_case.tables()
    )


@pytest.fixture
def world(
    new_database: Callable[..., str], prepared_database: str, tmp_path: Path
) -> Iterator[Any]:
    """A month of machines without labels, scored; the oldest have the highest scores."""
    tiny_case.generate(Generation(tmp_path / "months", users=MACHINES, months=2, seed=5))
    url = new_database(prepared_database)
    settings = load_settings(home=tmp_path / "home", database_url=url, use_case="tests.tiny_case")
    with platform(settings) as opened:
        ready = replace(opened, use_case=replace(opened.use_case, tables=tables, value=BY_AGE))
        folder = tmp_path / "months" / "month_000"
        (folder / "failures.csv").rename(tmp_path / "failures.csv")
        ingest(ready, folder, JANUARY, KNOWN, NOW, "test")
        scores = {f"m-{one:04}": (one % 200 + 1) / 250 for one in range(MACHINES)}
        left = {"m-9999": "departed"}
        record_scores(ready.database, scores, left, model=MODEL, known_at=NOW)
        yield ready


def export(
    ready: Platform, file: Path | None = None, kind: Format = "csv", **choice: Any
) -> Exported:
    def write(columns: Sequence[Column]) -> None:
        if file is not None:
            list_file.write(file, kind, columns)

    chosen = Choice(**{"as_of": JANUARY, "limits": Limits(top=100), **choice})
    return export_list.export_list(ready, chosen, "somebody", NOW, write)


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as content:
        return list(csv.DictReader(content))


def test_a_list_says_whom_to_contact_in_which_order_and_what_it_is_computed_from(
    world: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    with world.database.connection() as connection:
        connection.execute(
            "INSERT INTO streamflow.reasons (scoring_id, entity_id, position, feature,"
            " contribution, sentence) SELECT scoring_id, 'm-0199', place, 'f', 0.1,"
            " '=' || place || ' alarms' FROM streamflow.scorings, generate_series(1, 2) AS place"
        )
    done = export(world, file)
    rows = read(file)
    assert (done.listed, len(rows)) == (100, 100)
    assert done.to_contact + done.held_out == 100
    assert (done.departed, done.departed_since, done.without_value) == (1, 0, 0)
    expected = [float(row["expected_value"]) for row in rows]
    assert expected == sorted(expected, reverse=True)
    first = rows[0]
    # The oldest machine of the highest score: 209 weeks, probability 0.8.
    assert first["machine_id"] == "m-0199"
    assert float(first["expected_value"]) == 0.8 * 209 * 2 * 0.5 - 10
    assert (first["rank"], first["decile"], first["risk_band"]) == ("1", "1", "fails soon")
    # A formula would be computed by a spreadsheet.
    assert (first["reason_1"], first["reason_2"], first["reason_3"]) == (
        *("'=1 alarms", "'=2 alarms"),
        "",
    )
    assert first["worth_from"] == "machines.age_weeks x 2 months"
    assert (first["success"], first["cost"], first["unit"]) == ("0.5", "10.0", "EUR")
    assert {row["assignment"] for row in rows} == {"contact", "hold-out"}
    assert sum(row["assignment"] == "hold-out" for row in rows) == done.held_out > 0


@pytest.mark.parametrize("kind", list_file.FORMATS)
def test_the_same_list_again_has_the_same_bytes_and_is_recorded_once(
    world: Platform, tmp_path: Path, kind: Format
) -> None:
    first, second = tmp_path / f"first.{kind}", tmp_path / f"second.{kind}"
    assert export(world, first, kind).recorded
    again = export(world, second, kind)
    assert not again.recorded
    assert first.read_bytes() == second.read_bytes()
    assert len(recorded.lists(world.database, MODEL)) == 1
    other = export(world, limits=Limits(budget=Decimal(200)))
    assert (other.list_id != again.list_id, other.to_contact, other.cost) == (True, 20, 200.0)


def test_a_list_that_cant_be_written_isnt_recorded(world: Platform, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        export(world, tmp_path / "gone" / "list.csv")
    assert recorded.lists(world.database, MODEL) == []


def test_who_has_left_since_is_on_no_list_and_is_told(world: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "months" / "month_001"
    for file in folder.iterdir():
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("m-0199,")))
    (folder / "failures.csv").unlink()
    ingest(world, folder, FEBRUARY, LATER, LATER, "test")
    done = export(world, tmp_path / "list.csv", limits=Limits(min_value=0.0))
    assert (done.departed_since, done.newest_month) == (1, FEBRUARY)
    assert "m-0199" not in {row["machine_id"] for row in read(tmp_path / "list.csv")}


def test_what_an_entity_is_worth_is_its_newest_value_as_known_when_it_was_scored(
    world: Platform, tmp_path: Path
) -> None:
    # In February one machine has no reading, another's is corrected, and a third's too late; the
    # first one's of January is corrected.
    def readings(month: str) -> Path:
        return tmp_path / "months" / month / "readings.csv"

    def rows(month: str) -> dict[str, list[str]]:
        _, *found = csv.reader(readings(month).read_text(encoding="utf-8").splitlines())
        return {row[0]: row for row in found}

    def load(newer: dict[str, list[str] | None], at: datetime, month: str = "month_001") -> None:
        header = readings(month).read_text(encoding="utf-8").splitlines()[0].split(",")
        before = old if month == "month_001" else rows(month)
        kept = [row for row in {**before, **newer}.values() if row is not None]
        with readings(month).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *kept])
        as_of = FEBRUARY if month == "month_001" else JANUARY
        ingest(world, readings(month).parent, as_of, at, LATER, "test")

    old = rows("month_001")
    (readings("month_001").parent / "failures.csv").unlink()
    absent, wrong, late = "m-0011", "m-0012", "m-0013"
    first, second, third = (LATER - timedelta(hours=one) for one in (3, 2, 1))
    load({absent: [absent, "1", "6", ""]}, first - timedelta(hours=1), "month_000")
    load({absent: None, wrong: [wrong, "1", "9", ""]}, first)
    load({absent: None, wrong: [wrong, "1", "7", ""]}, second)
    load({absent: None, wrong: [wrong, "1", "7", ""], late: [late, "1", "8", ""]}, third)
    by_alarms = replace(BY_AGE, column="readings.alarms")
    ready = replace(world, use_case=replace(world.use_case, value=by_alarms))
    scores = dict.fromkeys([*old, "m-8888"], 0.5)
    known = {"as_of": FEBRUARY, "known_at": second + timedelta(minutes=1)}
    made = record_scores(world.database, scores, model=MODEL, **known)

    found = candidates(ready, made)
    assert found.column is not None
    values = dict(zip(found.entities, found.column.tolist(), strict=True))
    expected = {one: float(row[2]) for one, row in old.items()}
    assert values == {**expected, absent: 6.0, wrong: 7.0}


def test_without_a_value_a_list_is_ordered_by_probability(world: Platform, tmp_path: Path) -> None:
    ready = replace(world, use_case=replace(world.use_case, value=None))
    file = tmp_path / "list.parquet"
    export(ready, file, "parquet", limits=Limits(top_share=Decimal("0.1")))
    table = pyarrow.parquet.read_table(file)
    assert table["rank"].to_pylist() == list(range(1, 41))
    assert table["expected_value"].null_count == 40
    with pytest.raises(LimitRefused, match=r"value=Value\("):
        export(ready, limits=Limits(budget=Decimal(5)))
    with pytest.raises(LimitRefused, match="pays for nobody"):
        export(world, limits=Limits(budget=Decimal(5)))


def test_contacts_are_recorded_once_and_what_is_wrong_is_told(
    world: Platform, tmp_path: Path
) -> None:
    done = export(world, tmp_path / "list.csv")
    rows = read(tmp_path / "list.csv")
    held_out = [row["machine_id"] for row in rows if row["assignment"] == "hold-out"]
    for row in rows:
        row["contacted_on"] = "2024-02-04" if row["assignment"] == "contact" else ""
    next(row for row in rows if row["contacted_on"])["contacted_on"] = ""
    next(row for row in rows if row["machine_id"] == held_out[0])["contacted_on"] = "2024-02-03"
    rows.append({**rows[1], "machine_id": "m-8888", "contacted_on": "2024-02-04"})
    file = tmp_path / "back.xlsx"
    cells: list[list[Any]] = [[*rows[0]], *([*row.values()] for row in rows)]
    write_workbook(file, {"list": cells})
    first = campaign.record(world, file, None, "somebody", NOW)
    assert (first.list_id, first.left_out) == (done.list_id, len(held_out))
    assert first.contacts.added == done.to_contact
    assert (first.contacts.held_out, first.contacts.unknown) == ([held_out[0]], ["m-8888"])
    again = campaign.record(world, file, None, "somebody", NOW)
    assert (again.contacts.added, again.contacts.known) == (0, done.to_contact)

    wrong = tmp_path / "wrong.csv"
    wrong.write_text(
        "machine_id;contacted_on\nm-0001;4.2.2024\nm-0002;2024-05-01\nm-0003;2024-01-30\n"
    )
    with pytest.raises(ContactsRefused) as refused:
        campaign.record(world, wrong, None, "somebody", NOW)
    message = str(refused.value)
    assert "wrong.csv, line 2, column 'contacted_on': '4.2.2024' breaks the rule: a day" in message
    assert "line 3" in message
    assert "streamflow campaign record" in message
    wrong.write_text("machine_id,contacted_on\nm-0003,2024-01-30\n")
    with pytest.raises(ContactsRefused, match=r"line 2.*isn't before the list's AS_OF 2024-01-31"):
        campaign.record(world, wrong, None, "somebody", NOW)
    wrong.write_text("machine_id\nm-0003\n")
    with pytest.raises(UnknownList, match="has the number 77"):
        campaign.record(world, wrong, 77, "somebody", NOW)
    wrong.write_text(f"machine_id,list\nm-0003,{done.list_id}\n")
    with pytest.raises(OtherList, match="--list names 77"):
        campaign.record(world, wrong, 77, "somebody", NOW)


def test_what_a_campaign_brought_is_told_when_labels_have_come(
    world: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    done = export(world, file, limits=Limits(top=MACHINES), hold_out=0.4)
    (before,) = campaign.effects(world, NOW)
    assert "nobody is recorded as contacted" in before.effect.message
    rows = read(file)
    contacted = {row["machine_id"] for row in rows if row["assignment"] == "contact"}
    ids = tmp_path / "ids.csv"
    ids.write_text("machine_id\n" + "".join(f"{one}\n" for one in sorted(contacted)))
    campaign.record(world, ids, None, "somebody", NOW)
    (waiting,) = campaign.effects(world, NOW, as_of=JANUARY)
    assert waiting.effect.outcome == "can't tell"
    assert "None of the listed has a label yet" in waiting.effect.message

    # Of those held out half fail, of the others a fifth.
    label = {
        f"m-{one:04}": one % 5 == 0 if f"m-{one:04}" in contacted else one % 2 == 0
        for one in range(MACHINES)
    }
    folder = tmp_path / "labels"
    folder.mkdir()
    lines = "".join(
        f"{machine},{'true' if fails else 'false'}\n" for machine, fails in label.items()
    )
    (folder / "failures.csv").write_text(f"machine_id,fails\n{lines}")
    for table in ("machines", "readings"):
        source = tmp_path / "months" / "month_000" / f"{table}.csv"
        (folder / f"{table}.csv").write_bytes(source.read_bytes())
    ingest(world, folder, JANUARY, LATER, LATER, "test")
    (found,) = campaign.effects(world, LATER, as_of=JANUARY)
    to_contact, held_out = found.effect.to_contact, found.effect.held_out
    assert (to_contact.entities, held_out.entities) == (done.to_contact, done.held_out)
    assert to_contact.contacted == to_contact.labelled == len(contacted)
    assert held_out.true == sum(
        fails for machine, fails in label.items() if machine not in contacted
    )
    assert found.effect.outcome == "fewer"
    assert found.early_labels == 0
    # As it was known before the labels came.
    (then,) = campaign.effects(world, LATER, as_of=JANUARY, known_at=NOW)
    assert then.effect.outcome == "can't tell"
    # A list of today can't have changed labels that were there before it.
    with pytest.raises(UnknownList, match="streamflow export --as-of 2024-02-29"):
        campaign.effects(world, LATER, as_of=FEBRUARY)


def test_by_the_command_line(
    world: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(world.settings.home))
    monkeypatch.setenv("STREAMFLOW_DATABASE_URL", url_of(world.settings))
    monkeypatch.setenv("STREAMFLOW_USE_CASE", "tests.tiny_case")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    chosen = ("export", "--as-of", "2024-01-31", "--top", "30%")
    printed = run(*chosen)
    assert printed.exit_code == 0, printed.output
    rows = list(csv.DictReader(printed.stdout.splitlines()))
    assert len(rows) == 120
    assert "held out to be left alone" in printed.stderr
    written = run(*chosen, "--output", "list.xlsx", "--json")
    assert json.loads(written.stdout)["recorded"] is False
    nobody = run("campaign", "record", "list.xlsx")
    assert isinstance(nobody.exception, ContactsRefused)
    assert "no row has a day in 'contacted_on'" in str(nobody.exception)
    ids = "".join(f"{row['machine_id']}\n" for row in rows)
    (tmp_path / "ids.csv").write_text(f"machine_id\n{ids}unknown\n")
    told = run("campaign", "record", "ids.csv").stdout
    assert "120 contacts recorded" in told
    assert "were to be left alone and were contacted" in told
    assert "1 aren't on the list, and nothing is recorded of them: unknown" in told
    effect = run("campaign", "effect", "--as-of", "2024-01-31").stdout
    assert "Can't tell: None of the listed has a label yet." in effect
    assert "of those held out were contacted" in effect
    assert json.loads(run("campaign", "effect", "--json").stdout)[0]["list_id"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--top", "0.05"],
        ["--top", "0%"],
        ["--budget", "much"],
        ["--budget", "nan"],
        ["--budget", "1e999999"],
        ["--budget", "-5"],
        ["--min-value", "inf"],
        ["--min-value", "nan"],
        ["--top", "5%", "--hold-out", "100%"],
        ["--top", "5%", "--format", "xlsx"],
        ["--top", "5%", "--format", "xlsx", "--output", "list.csv"],
        ["--top", "5%", "--output", "list.txt"],
        ["--top", "5%", "--json"],
    ],
)
def test_an_export_that_isnt_sure_is_a_wrong_usage(wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["export", "--as-of", "2024-01-31", *wrong]).exit_code == 2
