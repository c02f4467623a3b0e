"""What `bench.engines` measured: kept as it comes, told as tables in docs/engines.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import RESULTS

FILE, DOCUMENT = RESULTS / "engines.jsonl", Path(__file__).parents[1] / "docs" / "engines.md"
BEGIN, END = "<!-- figures of bench/engines.py -->", "<!-- end of figures -->"

Record = dict[str, Any]


def add(record: Record) -> None:
    """Keep the record of a step."""
    RESULTS.mkdir(exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(record) + "\n")


def into_document() -> None:
    """Write the tables into the document, in the place of those that are there."""
    text = DOCUMENT.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{figures()}\n\n{after}")


def medians() -> dict[tuple[str, str], dict[tuple[int, int], tuple[float, float]]]:
    """By step and engine, and by users and months, the median of seconds, and of megabytes."""
    runs: dict[tuple[str, str], dict[tuple[int, int], list[Record]]] = {}
    for line in FILE.read_text().splitlines():
        one = json.loads(line)
        if "failed" not in one:
            of_step = runs.setdefault((one["step"], one["engine"]), {})
            of_step.setdefault((one["users"], one["months"]), []).append(one)
    return {
        key: {
            place: (
                statistics.median(one["seconds"] for one in records),
                statistics.median(one["megabytes"] for one in records),
            )
            for place, records in sorted(sizes.items())
        }
        for key, sizes in runs.items()
    }


def figures() -> str:
    """All results as tables in Markdown, with what the claims ask for."""
    found = medians()
    places = sorted({place for sizes in found.values() for place in sizes})
    heads = [f"{users:,} x {months} months" for users, months in places]
    lines = [f"| step | engine | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for (step, engine), sizes in found.items():
        cells = [
            "" if place not in sizes else f"{sizes[place][0]:.1f} s, {sizes[place][1]:,.0f} MB"
            for place in places
        ]
        lines.append(f"| {step} | {engine} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *bars(found)])


def bars(
    found: Mapping[tuple[str, str], Mapping[tuple[int, int], tuple[float, float]]],
) -> list[str]:
    """What the claims ask for, and what was measured."""
    lines = ["| asked for | measured |", "|---|---|"]
    compared = [("duckdb", "bare query", 1.5), ("postgres", "plain SQL", 2.0)]
    for engine, peer, most in compared:
        ours, theirs = found.get(("matrix", engine), {}), found.get((peer, engine), {})
        for place in sorted(ours.keys() & theirs.keys()):
            ratio = ours[place][0] / theirs[place][0]
            lines.append(
                f"| {engine}: at most {most} times the {peer}, {place[0]:,} users | {ratio:.2f} |"
            )
        feasts = found.get(("Feast", "postgres"), {})
        for place in sorted(ours.keys() & feasts.keys()):
            ratio = feasts[place][0] / ours[place][0]
            lines.append(
                f"| {engine}: at least 5 times as fast as Feast, {place[0]:,} users | {ratio:.1f} |"
            )
    ours, theirs = found.get(("score", "spark"), {}), found.get(("by hand", "spark"), {})
    for place in sorted(ours.keys() & theirs.keys()):
        said = f"score on spark: at most 1.5 times the same by hand, {place[0]:,} users"
        lines.append(f"| {said} | {ours[place][0] / theirs[place][0]:.2f} |")
    small, large = found.get(("score", "postgres"), {}), found.get(("score", "iceberg"), {})
    first = max(small, default=(0, 0))
    if last := _largest(large, first[1]):
        growth = _per_user(large, last) / _per_user(small, first)
        said = f"score of {last[0]:,} users over Iceberg: at most 1.3 times the time per user of"
        lines.append(f"| {said} {first[0]:,} from PostgreSQL | {growth:.2f} |")
    for step, engine in (("matrix", "duckdb"), ("score", "duckdb"), ("score", "iceberg")):
        sizes = found.get((step, engine), {})
        first = min(sizes, default=(0, 0))
        last = _largest(sizes, first[1])
        if last and last != first:
            growth = _per_user(sizes, last) / _per_user(sizes, first)
            said = f"at most 1.3 times the time per user of {first[0]:,} at {last[0]:,}"
            lines.append(f"| {step}, {engine}: {said} | {growth:.2f} |")
    return lines


def _largest(
    sizes: Mapping[tuple[int, int], tuple[float, float]], months: int
) -> tuple[int, int] | None:
    """The size with most users of as many months: those are measured in one run, and more months
    are in the table of seconds alone."""
    return max((place for place in sizes if place[1] == months), default=None)


def _per_user(
    sizes: Mapping[tuple[int, int], tuple[float, float]], place: tuple[int, int]
) -> float:
    return sizes[place][0] / place[0]
