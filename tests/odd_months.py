"""Months as strangers have them: written by programs, spreadsheets and people of all countries.

Each function writes a folder and returns what `init` should find in it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from tests.excel import write_workbook
from tests.raw_months import write_csv

ENTITIES = 300


@dataclass(frozen=True)
class Found:
    """The key, the label and the features by the use case's names; an entity that has a score."""

    key: str
    label: str
    features: tuple[str, ...]
    entity: str
    positive: tuple[object, ...] = (True,)


def risk(draw: Random, number: float) -> bool:
    """An answer that goes by a number about 0, and by chance."""
    return number + draw.gauss(0, 0.7) > 0.5


def title_and_total(folder: Path) -> Found:
    """A report: lines above the header, a total below, semicolons, decimal commas, a blank line."""
    draw = Random(1)
    rows = [
        "Bericht Filialen;;;",
        "Stand: 31.01.2024;;;",
        ";;;",
        "Filiale;Umsatz;Kunden;geschlossen",
    ]
    for number in range(ENTITIES):
        sales = draw.gauss(0, 1)
        shown = f"{1000 + 300 * sales:,.2f}".translate(str.maketrans(",.", ".,"))
        closed = "ja" if risk(draw, -sales) else "nein"
        rows.append(f"F{number:03};{shown};{draw.randrange(9)};{closed}")
    rows += [";;;", "Summe;300.000,00;1.200;"]
    (folder / "Filialen.csv").write_text("\r\n".join([*rows, ""]), encoding="cp1252")
    return Found("filiale", "filialen.geschlossen", ("umsatz", "kunden"), "F007")


def percents_and_prices(folder: Path) -> Found:
    """Per cent signs, currencies with thousands, a day as m/d/Y, and blanks among them."""
    draw = Random(2)
    rows: list[list[Any]] = [["Account No", "Opened", "Balance", "Usage", "Defaulted"]]
    for number in range(ENTITIES):
        usage = draw.gauss(0, 1)
        opened = date(2015, 1, 1) + timedelta(draw.randrange(3000))
        balance = f"${draw.uniform(1, 9000):,.2f}" if draw.random() > 0.1 else ""
        row = [f"AC-{number}", f"{opened:%m/%d/%Y}", balance, f"{50 + 10 * usage:.1f}%"]
        rows.append([*row, "Y" if risk(draw, usage) else "N"])
    write_csv(folder / "accounts.csv", rows)
    return Found("account_no", "accounts.defaulted", ("balance", "usage"), "AC-7")


def of_pandas(folder: Path) -> Found:
    """`to_csv` of a frame: an index without a name, floats for whole numbers with nulls, True."""
    draw = Random(3)
    rows: list[list[Any]] = [["", "driver", "trips", "rating", "trained", "churned"]]
    for number in range(ENTITIES):
        trips = draw.gauss(0, 1)
        shown = float(round(20 + 5 * trips)) if draw.random() > 0.1 else ""
        rating = round(draw.uniform(1, 5), 2)
        row = [number, f"driver_{number}", shown, rating, draw.random() > 0.5, risk(draw, -trips)]
        rows.append(row)
    write_csv(folder / "drivers.csv", rows)
    return Found("driver", "drivers.churned", ("trips", "rating", "trained"), "driver_7")


def of_r(folder: Path) -> Found:
    """`write.csv`: everything quoted, names of rows, NA, TRUE, and a factor of words."""
    draw = Random(4)
    lines = ['"","patient.id","age","bmi","smoker","readmitted"']
    for number in range(1, ENTITIES + 1):
        bmi = draw.gauss(0, 1)
        shown = f"{27 + 4 * bmi:.1f}" if draw.random() > 0.1 else "NA"
        smoker = draw.choice(["never", "former", "current", "NA"])
        answer = "TRUE" if risk(draw, bmi) else "FALSE"
        smoker = smoker if smoker == "NA" else f'"{smoker}"'
        age = draw.randrange(20, 90)
        lines.append(f'"{number}","P{number:04}",{age},{shown},{smoker},{answer}')
    (folder / "patients.csv").write_text("\n".join([*lines, ""]))
    return Found("patient_id", "patients.readmitted", ("age", "bmi", "smoker"), "P0007")


def long_file(folder: Path) -> Found:
    """One file of three months, by a column."""
    draw = Random(5)
    rows: list[list[Any]] = [["month", "store", "sales", "visits", "closed_next"]]
    for month in ("2024-01", "2024-02", "2024-03"):
        for number in range(150):
            sales = draw.gauss(0, 1)
            row = [month, f"S{number:03}", round(100 + 20 * sales, 1), draw.randrange(40)]
            rows.append([*row, int(risk(draw, -sales))])
    write_csv(folder / "stores.csv", rows)
    return Found("store", "stores.closed_next", ("sales", "visits"), "S007", (1,))


def one_table_of_classes(folder: Path) -> Found:
    """A table of a text book: good and bad, numbers that are categories, a row per loan."""
    draw = Random(6)
    rows: list[list[Any]] = [["Loan_ID", "duration", "purpose", "housing", "class"]]
    for number in range(ENTITIES):
        duration = draw.gauss(0, 1)
        row = [f"LP{number:06}", round(24 + 8 * duration), draw.choice(["car", "tv", "other"])]
        rows.append([*row, draw.choice([1, 2, 3]), "bad" if risk(draw, duration) else "good"])
    write_csv(folder / "loans.csv", rows)
    return Found("loan_id", "loans.class", ("duration", "purpose", "housing"), "LP000007", ("bad",))


def utf16_and_gzip(folder: Path) -> Found:
    """Excel's "Unicode text", and a file that is compressed, with line breaks in quotes."""
    draw = Random(7)
    members: list[list[Any]] = [["member_id", "city", "visits"]]
    lines = ["member_id,remark,cancelled"]
    for number in range(ENTITIES):
        visits = draw.gauss(0, 1)
        members.append(
            [number + 5000, draw.choice(["Köln", "Łódź", "Zürich"]), round(8 + 3 * visits)]
        )
        answer = "Yes" if risk(draw, -visits) else "No"
        lines.append(f'{number + 5000},"he said ""{number}"",\nand left",{answer}')
    write_csv(folder / "members.txt", members, "\t", "utf-16")
    (folder / "endings.csv.gz").write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return Found("member_id", "endings.cancelled", ("city", "visits"), "5007")


def french(folder: Path) -> Found:
    """Spaces that don't break between thousands, days first, Oui and Non, n.c. for no value."""
    draw = Random(8)
    rows: list[list[Any]] = [["N° client", "Date d'entrée", "Revenu", "Prélèvement", "Résilié"]]
    for number in range(ENTITIES):
        income = draw.gauss(0, 1)
        entry = date(2018, 1, 1) + timedelta(draw.randrange(2000))
        shown = f"{30000 + 5000 * income:,.2f}".translate(str.maketrans(",.", "\u00a0,"))
        paid = draw.choice(["Oui", "Non", "Oui", "N/A"])
        answer = "Oui" if risk(draw, -income) else "Non"
        rows.append([f"{number:05}", f"{entry:%d/%m/%Y}", shown, paid, answer])
    write_csv(folder / "Clients.csv", rows, ";", "cp1252")
    return Found("n_client", "clients.resilie", ("revenu", "prelevement"), "00007")


def swiss(folder: Path) -> Found:
    """Apostrophes between thousands, J and N with blanks, CHF, a mark of the byte order."""
    draw = Random(9)
    rows: list[list[Any]] = [["Police-Nr", "Prämie", "Versichert", "Vollkasko", "Kündigung"]]
    for number in range(ENTITIES):
        premium = draw.gauss(0, 1)
        insured = f"{draw.uniform(1000, 99000):,.0f}".replace(",", "'")
        whole = draw.choice(["J", "N", ""])
        row = [f"CH{number:04}", f"CHF {900 + 200 * premium:.2f}", insured, whole]
        rows.append([*row, "J" if risk(draw, premium) else "N"])
    write_csv(folder / "policen.csv", rows, ";", "utf-8-sig")
    features = ("praemie", "versichert", "vollkasko")
    return Found("police_nr", "policen.kuendigung", features, "CH0007")


def strange_names(folder: Path) -> Found:
    """Columns called like words of SQL and of Python, with spaces, brackets, twice, and none."""
    draw = Random(10)
    names = ["user", "order", "class", "select", "lambda", "Größe (m²)", "from", "x", "x", "", "y"]
    rows: list[list[Any]] = [names]
    for number in range(ENTITIES):
        order = draw.gauss(0, 1)
        row = [f"u{number}", round(order, 3), draw.choice("abc"), draw.randrange(9), draw.random()]
        size, day = round(draw.uniform(1, 9), 2), draw.choice(["mo", "tu"])
        rows.append([*row, size, day, number, -number, "", int(risk(draw, order))])
    write_csv(folder / "group.csv", rows)
    features = ("order", "class", "select", "lambda", "groesse_m2", "from")
    return Found("user", "group.y", features, "u7", (1,))


def payments(folder: Path) -> Found:
    """A table of customers, and one of payments: several rows for each, with their moments."""
    draw = Random(11)
    customers: list[list[Any]] = [["customer_id", "plan", "age", "churn"]]
    rows: list[list[Any]] = [["payment_id", "customer_id", "paid_at", "amount"]]
    for number in range(ENTITIES):
        age = draw.gauss(0, 1)
        answer = "yes" if risk(draw, age) else "no"
        customers.append([f"C{number}", draw.choice("ab"), round(40 + 9 * age), answer])
        for _ in range(draw.randrange(4)):
            at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=draw.randrange(30 * 24 * 60))
            rows.append([f"pay{len(rows)}", f"C{number}", f"{at:%Y-%m-%dT%H:%M:%S}Z", 9.5])
    write_csv(folder / "customers.csv", customers)
    write_csv(folder / "payments.csv", rows)
    of_events = ("payments_30d", "days_since_payments")
    return Found("customer_id", "customers.churn", ("plan", "age", *of_events), "C7")


def states(folder: Path) -> Found:
    """A label of four states, one of which says that nobody knows; the same words elsewhere."""
    draw = Random(12)
    rows: list[list[Any]] = [["customer_no", "channel", "months", "status"]]
    for number in range(ENTITIES):
        months = draw.gauss(0, 1)
        left = draw.choice(["churned", "left"])
        state = left if risk(draw, -months) else "active"
        state = state if draw.random() > 0.1 else "Unknown"
        channel = draw.choice(["web", "shop", "Unknown"])
        rows.append([f"N-{number}", channel, round(12 + 4 * months), state])
    write_csv(folder / "customers.csv", rows, "|", "latin-1")
    label = "customers.status"
    return Found("customer_no", label, ("channel", "months"), "N-7", ("churned", "left"))


def workbook(folder: Path) -> Found:
    """A workbook with titles, days, true and false, whole numbers, and a sheet of remarks."""
    draw = Random(13)
    assets: list[list[Any]] = [["Assets of the plant"], [None]]
    assets.append(["Asset ID", "Installed", "Load", "Critical", "Broken"])
    for number in range(ENTITIES):
        load = draw.gauss(0, 1)
        day = date(2015, 1, 1) + timedelta(draw.randrange(2000))
        row: list[Any] = [1000 + number, day, 50 + 9 * load if draw.random() > 0.1 else None]
        assets.append([*row, draw.random() > 0.5, risk(draw, load)])
    remarks = [["Written by the plant"], ["All loads are means"]]
    write_workbook(folder / "plant.xlsx", {"Assets": assets, "Read me": remarks})
    return Found("asset_id", "assets.broken", ("load", "critical"), "1007")


def spreadsheet(folder: Path) -> Found:
    """A line that tells Excel the separator, a separator after the last value, CRLF, YES and no."""
    draw = Random(14)
    lines = ["sep=;", "Vehicle;km;Fuel;failed;"]
    for number in range(ENTITIES):
        driven = draw.gauss(0, 1)
        answer = draw.choice(["YES", "Yes"]) if risk(draw, driven) else draw.choice(["no", "No"])
        fuel = draw.choice(["diesel", "petrol"])
        lines.append(f"V{number};{round(50_000 + 9000 * driven)};{fuel};{answer};")
    (folder / "vehicles.csv").write_text("\r\n".join([*lines, ""]), newline="")
    return Found("vehicle", "vehicles.failed", ("km", "fuel"), "V7")


def of_a_warehouse(folder: Path) -> Found:
    """Parquet with large strings, decimals, moments of a zone, categories, the index of pandas."""
    import pyarrow as pa
    import pyarrow.parquet

    draw = Random(15)
    amounts = [draw.gauss(0, 1) for _ in range(ENTITIES)]
    columns = {
        "contract_key": pa.array([f"K{n}" for n in range(ENTITIES)], pa.large_string()),
        "amount": pa.array(
            [Decimal(round(500 + 90 * one)) for one in amounts], pa.decimal128(12, 2)
        ),
        "segment": pa.array([draw.choice("abc") for _ in amounts]).dictionary_encode(),
        "signed": pa.array(
            [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(n) for n in range(ENTITIES)],
            pa.timestamp("ns", "UTC"),
        ),
        "flag": pa.array([draw.choice([1.0, 0.0, None]) for _ in amounts]),
        "defaulted": pa.array([int(risk(draw, one)) for one in amounts], pa.int8()),
        "__index_level_0__": pa.array(range(ENTITIES)),
    }
    pa.parquet.write_table(pa.table(columns), folder / "contracts.parquet")
    features = ("amount", "segment", "flag")
    return Found("contract_key", "contracts.defaulted", features, "K7", (1,))


def keys_of_other_names(folder: Path) -> Found:
    """Three systems that call the key otherwise; labels of some entities alone; a file of notes."""
    draw = Random(16)
    about: list[list[Any]] = [["CustomerID", "Region"]]
    usage: list[list[Any]] = [["cust", "logins", "errors"]]
    left: list[list[Any]] = [["CUSTOMER_NUMBER", "left"]]
    for number in range(ENTITIES):
        key, logins = f"X-{number:04}", draw.gauss(0, 1)
        about.append([key, draw.choice(["north", "south"])])
        usage.append([key, round(20 + 5 * logins), draw.randrange(4)])
        if number % 3:
            left.append([key, int(risk(draw, -logins))])
    write_csv(folder / "about.csv", about)
    write_csv(folder / "usage.csv", usage)
    write_csv(folder / "churned.csv", left)
    (folder / "README.txt").write_text("These files are of January.\nAsk Ann, not Bob.\n")
    features = ("region", "logins", "errors")
    return Found("customer_id", "churned.left", features, "X-0007", (1,))


def empty_and_constant(folder: Path) -> Found:
    """Columns without a value, with one value, of free text; a label of 1 and 2."""
    draw = Random(17)
    rows: list[list[Any]] = [["part_no", "nothing", "plant", "text", "wear", "outcome"]]
    for number in range(ENTITIES):
        wear = draw.gauss(0, 1)
        text = f"seen by {draw.random()}"
        rows.append([f"{number:04}", "", "P1", text, round(wear, 2), 2 if risk(draw, wear) else 1])
    write_csv(folder / "parts.csv", rows)
    return Found("part_no", "parts.outcome", ("wear",), "0007", (2,))


def folders_of_months(folder: Path) -> Found:
    """A folder for each month."""
    draw = Random(18)
    for month in ("2024-01", "2024-02"):
        rows: list[list[Any]] = [["site", "load", "kind", "failed"]]
        for number in range(150):
            load = draw.gauss(0, 1)
            rows.append([f"T{number}", round(load, 2), draw.choice("ab"), risk(draw, load)])
        (folder / f"export_{month}").mkdir()
        write_csv(folder / f"export_{month}" / "sites.csv", rows)
    return Found("site", "sites.failed", ("load", "kind"), "T7")


def weeks(folder: Path) -> Found:
    """A file of weeks, with semicolons and German words, of whom didn't come."""
    draw = Random(19)
    rows: list[list[Any]] = [["Woche", "Patienten-Nr.", "Wartetage", "SMS", "Nicht erschienen"]]
    for week in range(1, 4):
        for number in range(200):
            days = draw.gauss(0, 1)
            answer = "ja" if risk(draw, days) else "nein"
            called = "ja" if draw.random() < 0.5 else "nein"
            row = [f"2024-W{week:02}", f"{number:07}", round(30 + 8 * days), called, answer]
            rows.append(row)
    write_csv(folder / "Termine.csv", rows, ";", "cp1252")
    return Found("patienten_nr", "termine.nicht_erschienen", ("wartetage", "sms"), "0000007")


def names_with_a_month(folder: Path) -> Found:
    """Files of one month, which is in their names; days first, percents with commas, visits."""
    draw = Random(20)
    members: list[list[Any]] = [["Member No", "Joined", "Fee", "Attendance", "Cancelled"]]
    rows: list[list[Any]] = [["Member No", "Check-in", "Club", "Minutes"]]
    for number in range(ENTITIES):
        rate = draw.gauss(0, 1)
        joined = date(2019, 1, 1) + timedelta(draw.randrange(1700))
        answer = "Yes" if risk(draw, -rate) else "No"
        shown = f"{50 + 12 * rate:.1f} %".replace(".", ",")
        fee = f"£{draw.choice((19.99, 29.99))}"
        members.append([f"GM-{number:04}", f"{joined:%d/%m/%Y}", fee, shown, answer])
        for _ in range(draw.randrange(4)):
            at = datetime(2024, 3, 1) + timedelta(minutes=draw.randrange(30 * 24 * 60))  # noqa: DTZ001
            visit = [f"{at:%d/%m/%Y %H:%M}", draw.choice(("North", "City")), draw.randrange(99)]
            rows.append([f"GM-{number:04}", *visit])
    write_csv(folder / "members 2024-03.csv", members)
    write_csv(folder / "visits 2024-03.csv", rows)
    of_events = ("visits_30d", "visits_minutes_90d", "visits_different_club_90d")
    features = ("fee", "attendance", *of_events, "days_since_visits")
    return Found("member_no", "members.cancelled", features, "GM-0007")


def meters(folder: Path) -> Found:
    """One table of several months in UTF-16 with tabs, thousands, and results that aren't known."""
    draw = Random(21)
    rows: list[list[Any]] = [["Period", "Meter", "Consumption kWh", "Peak", "Inspection result"]]
    for period in ("Jan 2024", "Feb 2024", "Mar 2024"):
        for number in range(300):
            peak = draw.gauss(0, 1)
            found = "tampered" if risk(draw, peak) else "ok"
            found = found if draw.random() < 0.8 else "not inspected"
            used = f"{draw.expovariate(1 / 4000):,.2f}"
            rows.append([period, 10_000_000 + number, used, round(peak, 2), found])
    write_csv(folder / "readings.txt", rows, "\t", "utf-16")
    features = ("consumption_k_wh", "peak")
    label = "readings.inspection_result"
    return Found("meter", label, features, "10000007", ("tampered",))


def year_and_month(folder: Path) -> Found:
    """Months of a year in two columns, in words, and events of the same months in another file."""
    draw = Random(22)
    rows: list[list[Any]] = [["Jahr", "Monat", "Kunden-Nr.", "Umsatz", "Gekündigt"]]
    bought: list[list[Any]] = [["Jahr", "Monat", "Kunden-Nr.", "Gekauft am", "Betrag"]]
    for year, month, word in ((2023, 12, "Dezember"), (2024, 1, "Januar"), (2024, 2, "Februar")):
        for number in range(150):
            sales = draw.gauss(0, 1)
            of_row = [year, word, f"{number:07}"]
            answer = "ja" if risk(draw, -sales) else "nein"
            rows.append([*of_row, f"{200 + 30 * sales:.2f}".replace(".", ","), answer])
            for _ in range(draw.randrange(3)):
                day = f"{draw.randrange(1, 29):02}.{month:02}.{year} 10:15"
                bought.append([*of_row, day, draw.randrange(5, 90)])
    write_csv(folder / "Kunden.csv", rows, ";", "cp1252")
    write_csv(folder / "Käufe.csv", bought, ";", "cp1252")
    of_events = ("kaeufe_30d", "kaeufe_betrag_90d", "days_since_kaeufe")
    return Found("kunden_nr", "kunden.gekuendigt", ("umsatz", *of_events), "0000007")


ODD_MONTHS: Sequence[Callable[[Path], Found]] = (
    *(title_and_total, percents_and_prices, of_pandas, of_r, long_file, one_table_of_classes),
    *(utf16_and_gzip, french, swiss, strange_names, payments, states, workbook, spreadsheet),
    *(of_a_warehouse, keys_of_other_names, empty_and_constant, folders_of_months),
    *(weeks, names_with_a_month, meters, year_and_month),
)
