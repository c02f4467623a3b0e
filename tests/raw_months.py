"""Months of other domains as their owners would export them; each function writes a folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from tests.excel import write_workbook


def write_csv(
    path: Path, rows: Sequence[Sequence[Any]], separator: str = ",", encoding: str = "utf-8"
) -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def bank(folder: Path, entities: int, seed: int) -> None:
    """Semicolons, decimal commas, dots between thousands, German dates, cp1252, ids with zeros."""
    draw = Random(seed)

    def euros(amount: float) -> str:
        return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))

    customers: list[list[Any]] = [["Kunden-Nr.", "Geburtsdatum", "Bundesland", "Einkommen (EUR)"]]
    cards: list[list[Any]] = [["Kunden-Nr.", "Umsatz", "Anzahl", "Kartenart"]]
    cancelled: list[list[Any]] = [["Kunden-Nr.", "Kündigung"]]
    for number in range(entities):
        key, kind = f"{number:06d}", draw.choice(["Classic", "Gold", "Platin"])
        spent, born = draw.expovariate(1 / 900), date(1950, 1, 1) + timedelta(draw.randrange(18000))
        income = euros(draw.gauss(35_000, 9_000)) if draw.random() > 0.05 else ""
        land = draw.choice(["Baden-Württemberg", "Bayern", "Thüringen"])
        customers.append([key, f"{born:%d.%m.%Y}", land, income])
        cards.append([key, euros(spent), draw.randrange(60), kind])
        risk = (1.5 if kind == "Classic" else -0.5) - spent / 500 + draw.gauss(0, 0.7)
        cancelled.append([key, "Ja" if risk > 0 else "Nein"])
    write_csv(folder / "Kunden.csv", customers, ";", "cp1252")
    write_csv(folder / "Karten Umsätze.csv", cards, ";", "cp1252")
    write_csv(folder / "Kündigung.csv", cancelled, ";", "cp1252")


def machines(folder: Path, entities: int, seed: int) -> None:
    """One workbook with three sheets, whole numbers as ids, 1 and 0 as the label."""
    draw = Random(seed)
    about: list[list[Any]] = [["Machine", "Model", "Installed"]]
    sensors: list[list[Any]] = [["Machine", "Vibration", "Temp", "Hours"]]
    failures: list[list[Any]] = [["Machine", "failed"]]
    for number in range(1000, 1000 + entities):
        vibration, heat = draw.gammavariate(4, 0.7), draw.gauss(60, 8)
        about.append([number, draw.choice(["A1", "B2"]), date(2015, 1, 1) + timedelta(number)])
        sensors.append([number, vibration, heat, draw.randrange(700)])
        failures.append([number, int(vibration + (heat - 60) / 8 + draw.gauss(0, 0.7) > 3.5)])
    sheets = {"Machines": about, "Sensors": sensors, "Failures": failures}
    write_workbook(folder / "machines.xlsx", sheets)


def shops(folder: Path, entities: int, seed: int) -> None:
    """Parquet with decimals, moments in a time zone, encoded text, floats for their nulls."""
    import pyarrow as pa
    import pyarrow.parquet

    draw = Random(seed)
    keys = [f"shop-{number}" for number in range(entities)]
    revenue = [Decimal(f"{draw.uniform(100, 9000):.2f}") for _ in keys]
    opened = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(draw.randrange(900)) for _ in keys]
    staff = [draw.choice([1.0, 2.0, None, 5.0]) for _ in keys]
    columns = {
        "shop": pa.array(keys).dictionary_encode(),
        "revenue": pa.array(revenue, pa.decimal128(10, 2)),
        "opened": pa.array(opened, pa.timestamp("us", tz="UTC")),
        "staff": pa.array(staff, pa.float64()),
    }
    closed = [float(one) / 2000 + draw.gauss(0, 0.7) < 1.5 for one in revenue]
    pa.parquet.write_table(pa.table(columns), folder / "shops.parquet")
    pa.parquet.write_table(pa.table({"shop": keys, "closed": closed}), folder / "closings.parquet")


def students(folder: Path, entities: int, seed: int) -> None:
    """Tabs in UTF-16, Yes, No and blanks, NA among numbers, free text with line breaks."""
    draw = Random(seed)
    about: list[list[Any]] = [["student_id", "school", "age", "internet", "absences", "grade1"]]
    results: list[list[Any]] = [["student_id", "dropped_out", "comment"]]
    for number in range(entities):
        key, absences, grade = f"s{number}", draw.randrange(40), round(draw.gauss(11, 3), 1)
        school, online = draw.choice(["GP", "MS"]), draw.choice(["Yes", "No", ""])
        shown = grade if draw.random() > 0.1 else "NA"
        about.append([key, school, draw.randrange(15, 22), online, absences, shown])
        risk = absences / 10 - grade / 5 + draw.gauss(0, 0.7)
        results.append([key, "Yes" if risk > 0 else "No", f'he said "{number}",\nand left'])
    write_csv(folder / "students.tsv", about, "\t", "utf-16")
    write_csv(folder / "results.csv", results)


def telecom(folder: Path, entities: int, seed: int) -> None:
    """One file for all, a blank in a column of numbers, the label beside the features."""
    draw = Random(seed)
    rows: list[list[Any]] = [
        [
            *("customerID", "gender", "SeniorCitizen", "tenure", "Contract", "MonthlyCharges"),
            *("TotalCharges", "Churn"),
        ]
    ]
    for number in range(entities):
        tenure, fee = draw.randrange(72), round(draw.uniform(20, 110), 2)
        contract = draw.choice(["Month-to-month", "One year", "Two year"])
        paid = round(tenure * fee, 2) if tenure else " "
        risk = fee / 60 - tenure / 24 + (contract[0] == "M") + draw.gauss(0, 0.7)
        who = [draw.choice(["Male", "Female"]), draw.choice([0, 0, 1])]
        churn = "Yes" if risk > 0.3 else "No"
        rows.append([f"{number:04}-ABC", *who, tenure, contract, fee, paid, churn])
    write_csv(folder / "telecom.csv", rows)


RAW_MONTHS: dict[str, Callable[[Path, int, int], None]] = {
    "bank": bank,
    "machines": machines,
    "shops": shops,
    "students": students,
    "telecom": telecom,
}


def write_raw_month(name: str, folder: Path, entities: int = 300, seed: int = 5) -> Path:
    """The month of that domain below `folder`, in a folder of its name."""
    month = folder / name
    month.mkdir(parents=True)
    RAW_MONTHS[name](month, entities, seed)
    return month
