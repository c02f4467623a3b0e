"""Seeded synthetic subscribers of a video-streaming company, as month folders of CSV files."""

from __future__ import annotations

import fcntl
import filecmp
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn import population
from churn.rule import Array
from streamflow.errors import InvalidSettings
from streamflow.use_case import Generation

if TYPE_CHECKING:
    import pyarrow as pa

MOST_USERS = 10_000_000
MOST_MONTHS = 1_200
_PART = 65_536  # rows written at a time, so that memory stays small
_FIRST_MONTH = np.datetime64("2024-01", "M")

# The columns of a file from people (dtype SUBSCRIBER) and their observations (dtype OBSERVATION).
ColumnsOf = Callable[[Array, Array], "dict[str, Array | pa.Array]"]


def generate(generation: Generation) -> None:
    """Write `month_000` (as of 2024-01-31), `month_001` (2024-02-29) … into `generation.folder`.

    A month holds six CSV files of exactly `users` rows each, one per subscriber, in the same order:
    a panel of the company's subscribers. They stay until they churn. In the next month a new
    subscriber replaces each churned one, from the groups that the panel lacks by then, so that
    without drift every month is alike. No id is used twice.

    How the numbers are made:
    - Net service, contract and months active come from a fixed joint table (DSL 34 %, fiber 44 %,
      none 22 %; month-to-month 55 %, one year 21 %, two years 24 %; mean about 40 months). The two
      plans are null exactly for those without internet service.
    - `monthly_fee` is the line's price, plus plans, plus extras; 1.5 % of the fees change by 5.00
      in a month. `total_paid` starts near fee x months and grows by each month's fee.
    - Usage is a personal level plus a monthly deviation; counts are Poisson, with personal rates
      for skips and failed payments. Hours are rounded to 4 decimals, minutes and money to 2.
    - `churn_label` is drawn from a logistic of months active, fee, net service, failed payments,
      tickets, watch hours and contract type; about 26 % churn.
    - `drift` d shifts month m by s = d x m / 12 (at most 5) standard deviations: fewer hours and
      shorter sessions, more devices, skips and rebuffers, higher fees, and more churn at the same
      features.
    - `rule_drift` r replaces what leads to churn by other features, all of it in 12 / r months:
      sessions, skips, devices, resolution times, paperless bills.

    The same users, months, seed and drifts give the same bytes on any machine; more months don't
    change the earlier ones. A month that exists with the same bytes isn't changed,
    another is replaced as a whole, and months beyond `months` stay. A killed generation leaves no
    incomplete month. A second generation into the same folder waits for the first.
    Raises InvalidSettings for numbers out of range, and for a folder that can't be written.
    """
    _check(generation)
    with _writing(generation.folder):
        for month in population.panel(
            generation.users,
            generation.months,
            generation.seed,
            generation.drift,
            generation.rule_drift,
        ):
            _write_month(generation, month)


def _check(generation: Generation) -> None:
    for name, value, most in (
        ("users", generation.users, MOST_USERS),
        ("months", generation.months, MOST_MONTHS),
    ):
        if not 1 <= value <= most:
            raise InvalidSettings(
                f"{value} {name} can't be generated.",
                f"Give `--{name}` a number of 1 to {most:,}.",
            )
    if generation.seed < 0:
        raise InvalidSettings(
            f"The seed {generation.seed} is negative.", "Give `--seed` a number of 0 or more."
        )
    for name, drift, one in (
        ("drift", generation.drift, "one standard deviation"),
        ("rule-drift", generation.rule_drift, "another rule"),
    ):
        if not (drift >= 0 and math.isfinite(drift)):
            raise InvalidSettings(
                f"The {name} {drift} is not a number of 0 or more.",
                f"Give `--{name}` 0 for months that are alike, 1 for {one} a year.",
            )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Create `folder` and lock it until this generation ends or is killed."""
    with _write_errors_translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _write_errors_translated(folder):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _remove_leftovers(folder)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: Path) -> None:
    """Remove the incomplete months of a killed generation."""
    for partial in folder.glob(".month_*.partial"):
        shutil.rmtree(partial)
    for previous in folder.glob(".month_*.previous"):
        month = folder / previous.name.removeprefix(".").removesuffix(".previous")
        if month.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(month)


@contextmanager
def _write_errors_translated(folder: Path) -> Iterator[None]:
    """Raise an OSError in the block as InvalidSettings."""
    try:
        yield
    except OSError as error:
        raise InvalidSettings(
            f"The folder {str(folder)!r} can't be written: {error.strerror or error}.",
            "Give `streamflow generate` a folder that you may write, on a disk with room.",
        ) from error


def _write_month(generation: Generation, month: population.Month) -> None:
    """Write one month folder as a whole, or nothing."""
    name = f"month_{month.number:03d}"
    partial = generation.folder / f".{name}.partial"
    ids = user_ids(generation.seed, month.people["number"])
    try:
        with _write_errors_translated(generation.folder):
            partial.mkdir()
        for table, columns_of in _files(month).items():
            with _write_errors_translated(generation.folder):
                _write_csv(partial / f"{table}.csv", columns_of, ids, month)
            generation.progress(f"{name}/{table}.csv")
        with _write_errors_translated(generation.folder):
            _put_in_place(partial, generation.folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(complete: Path, month: Path) -> None:
    """Rename `complete` to `month`, unless that exists with the same files."""
    filecmp.clear_cache()
    files = sorted(file.name for file in complete.iterdir())
    if month.is_dir() and not any(filecmp.cmpfiles(complete, month, files, shallow=False)[1:]):
        return
    previous = month.with_name(f".{month.name}.previous")
    if month.exists():
        month.rename(previous)
    complete.rename(month)
    if previous.exists():
        shutil.rmtree(previous)


def _write_csv(file: Path, columns_of: ColumnsOf, ids: Array, month: population.Month) -> None:
    import pyarrow as pa
    from pyarrow import csv

    # pyarrow would quote the header, so it is written here.
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with file.open("wb") as sink:
        writer = None
        for start in range(0, len(ids), _PART):
            rows = slice(start, start + _PART)
            columns = {
                "user_id": _text(ids[rows]),
                **columns_of(month.people[rows], month.observed[rows]),
            }
            batch = pa.record_batch(list(columns.values()), names=list(columns))
            if writer is None:
                sink.write((",".join(columns) + "\n").encode("ascii"))
                writer = csv.CSVWriter(sink, batch.schema, write_options=options)
            writer.write(batch)
        if writer is not None:
            writer.close()


def _files(month: population.Month) -> dict[str, ColumnsOf]:
    """Per file, a function that gives its columns after user_id for a part of the subscribers."""
    return {
        "users": lambda people, observed: {
            "signup_date": _signup_date(people),
            "user_gender": _word(people["gender"], population.GENDERS),
            "user_is_senior": _flag(people["senior"]),
            "has_family": _flag(people["family"]),
            "has_dependents": _flag(people["dependents"]),
        },
        "subscriptions": lambda people, observed: {
            "months_active": population.months_active(people, month.number),
            "plan_stream_tv": _flag(people["stream_tv"], people["net"] == population.NO_INTERNET),
            "plan_stream_movies": _flag(
                people["stream_movies"], people["net"] == population.NO_INTERNET
            ),
            "contract_type": _word(people["contract"], population.CONTRACT_TYPES),
            "paperless_billing": _flag(people["paperless"]),
            "monthly_fee": _decimal(population.price(people, month.shift), 2),
            "total_paid": _decimal(people["paid"], 2),
            "net_service": _word(people["net"], population.NET_SERVICES),
        },
        "usage_agg_30d": lambda people, observed: {
            "watch_hours_30d": _decimal(observed["watch"], 4),
            "avg_session_mins_7d": _decimal(observed["session"], 2),
            "unique_devices_30d": np.ascontiguousarray(observed["devices"]),
            "skips_7d": np.ascontiguousarray(observed["skips"]),
            "rebuffer_events_7d": np.ascontiguousarray(observed["rebuffers"]),
        },
        "payments_agg_90d": lambda people, observed: {
            "failed_payments_90d": np.ascontiguousarray(observed["failed_payments"]),
        },
        "support_agg_90d": lambda people, observed: {
            "support_tickets_90d": np.ascontiguousarray(observed["tickets"]),
            "ticket_avg_resolution_hrs_90d": _decimal(observed["resolution"], 1),
        },
        "labels": lambda people, observed: {"churn_label": _flag(observed["churns"])},
    }


def user_ids(seed: int, numbers: Array) -> Array:
    """The ids of subscribers as ASCII, shape (len(numbers), 10): `4821-KQZRB`.

    A permutation of the 118,813,760,000 possible ids: no two numbers share one. In each round one
    half of the id gets a hash of the other half added, which can be reversed.
    """
    digits, letters = numbers.astype(np.uint64) % 10_000, numbers.astype(np.uint64) // 10_000
    for key in population.random_stream(seed, 0).random_raw(4):
        letters = (letters + _hash(digits, key)) % 26**5
        digits = (digits + _hash(letters, key)) % 10_000
    text = np.full((len(numbers), 10), ord("-"), dtype=np.uint8)
    for place in range(3, -1, -1):
        text[:, place] = digits % 10 + ord("0")
        digits = digits // 10
    for place in range(9, 4, -1):
        text[:, place] = letters % 26 + ord("A")
        letters = letters // 26
    return text


def _hash(values: Array, key: np.uint64) -> Array:
    mixed = (values + key) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(24)


def _signup_date(people: Array) -> Array:
    months = _FIRST_MONTH + people["signup_month"].astype("timedelta64[M]")
    days: Array = months.astype("datetime64[D]") + people["signup_day"].astype("timedelta64[D]")
    return days


def _word(codes: Array, words: tuple[str | None, ...]) -> pa.Array:
    import pyarrow as pa

    return pa.array(words).take(pa.array(codes.astype(np.int32)))


def _flag(values: Array, absent: Array | None = None) -> pa.Array:
    """The texts `True` and `False`, and null where `absent`."""
    codes = values.astype(np.int8) if absent is None else np.where(absent, 2, values)
    return _word(codes, ("False", "True", None))


def _text(ascii_rows: Array) -> pa.Array:
    import pyarrow as pa

    rows, width = ascii_rows.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(
        rows, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(ascii_rows))
    )


def _decimal(units: Array, places: int) -> pa.Array:
    """Integers of 10^-places as exact decimals: 2985 at 2 places is written `29.85`."""
    import pyarrow as pa

    low_and_high = np.empty((len(units), 2), dtype="<i8")
    low_and_high[:, 0] = units
    low_and_high[:, 1] = 0  # no amount is negative
    kind = pa.decimal128(18, places)
    return pa.Array.from_buffers(kind, len(units), [None, pa.py_buffer(low_and_high)])
