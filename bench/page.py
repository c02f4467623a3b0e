"""Write the tables and pictures of `docs/benchmarks.md` from `bench/results`, and the tables of the
README of `feast_postgres`.

The text of a page stays; what is between `<!-- NAME -->` and `<!-- end of NAME -->` is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import RESULTS
from bench.peers import pictures
from bench.peers.contestants import OURS

PAGE = RESULTS.parent.parent / "docs" / "benchmarks.md"
PACKAGE = PAGE.parent.parent / "src" / "feast_postgres" / "README.md"
PICTURES = PAGE.with_suffix("")
MARKED = re.compile(r"<!-- (\w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)

Rows = list[list[str]]


def main() -> None:
    """Write the pages, and print which results the first has no place for."""
    for page in (PAGE, PACKAGE):
        text = page.read_text(encoding="utf-8")
        part = partial(_part, pictured=page == PAGE)
        page.write_text(MARKED.sub(part, text), encoding="utf-8")
    names = {path.stem for path in RESULTS.glob("*.json")}
    for name in sorted(names - set(re.findall(r"<!-- (\w+) -->", PAGE.read_text("utf-8")))):
        print(f"{name}.json has no place in {PAGE.name}")


def _part(found: re.Match[str], pictured: bool) -> str:
    name = found[1]
    file = RESULTS / f"{name}.json"
    content = "Not measured yet.\n"
    if file.exists():
        content = section(name, json.loads(file.read_text()), pictured)
    return f"<!-- {name} -->\n{content}<!-- end of {name} -->"


def section(name: str, result: dict[str, Any], pictured: bool) -> str:
    """The claim, its tables and its picture, as Markdown."""
    tables, picture = _tables_and_picture(result)
    parts = [f"*{result['claim']}*", *tables]
    if pictured and picture is not None:
        PICTURES.mkdir(exist_ok=True)
        pictures.save(picture, PICTURES / f"{name}.svg")
        parts.append(f"![{name}]({PICTURES.name}/{name}.svg)")
    if "bars" in result:
        parts.append(
            table(
                ["wanted", "measured", ""],
                [
                    [bar["bar"], f"{bar['measured']:,.2f}", "met" if bar["met"] else "**not met**"]
                    for bar in result["bars"]
                ],
            )
        )
    for what, reason in result.get("skipped", {}).items():
        parts.append(f"Skipped: {what} ({reason}).")
    parts.append(f"{result['machine']}.")
    return "\n\n".join(parts) + "\n"


def _tables_and_picture(result: dict[str, Any]) -> tuple[list[str], Any]:
    """Tables and picture for each form that a result may have."""
    by_key: dict[str, Callable[[dict[str, Any]], tuple[list[str], Any]]] = {
        "told": monitoring_peers,
        "p50_ms": looked_up,
        "postgresql_mb": monitored,
        "background": reasons,
        "added_to_base": image,
        "medians": seconds,
        "medians_ms": milliseconds,
        "sizes": materialization,
        "batch": serving,
        "windows": soak,
        "with_and_without": prediction_log,
        "contestants": cold_start,
        "connections": load,
    }
    for key, write in by_key.items():
        if key in result:
            return write(result)
    return [], None


def seconds(result: dict[str, Any]) -> tuple[list[str], Any]:
    """A result of `bench.report`, in which ours comes first."""
    ours = next(iter(result["medians"]))
    rows = []
    for name, median in result["medians"].items():
        runs = result["seconds"][name]
        times = "" if name == ours else f"{median / result['medians'][ours]:.1f}"
        rows.append([name, f"{median:.2f}", f"{min(runs):.2f} to {max(runs):.2f}", times])
    header = ["", "median s", "range", "times ours"]
    return [table(header, rows)], pictures.bars(result["medians"], ours, "seconds")


def monitoring_peers(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.monitoring_peers`."""
    rows = []
    for name, median in result["medians"].items():
        auc = result["told"][name][0].get("estimated_auc")
        seconds = (f"{median[what]:.2f}" for what in ("import_seconds", "seconds"))
        estimated = "" if auc is None else f"{auc:.4f}"
        rows.append([name, *seconds, f"{median['mebibytes']:,.0f}", estimated])
    apart = [[what, f"{found:.1e}"] for what, found in result["largest differences"].items()]
    return [
        table(["", "import s", "work s", "MiB", "estimated AUC"], rows),
        table(["figures in the same bins", "at most apart"], apart),
    ], None


def looked_up(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.score_lookup`."""
    rows = [[name, f"{median:.2f}"] for name, median in result["medians"].items()]
    return [table(["", "p50 ms"], rows)], None


def monitored(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.monitor`."""
    rows = [[f"{what}, s", f"{taken:.1f}"] for what, taken in result["seconds"].items()]
    rows += [
        ["this process, at most, MB", f"{result['process_mb']:,.0f}"],
        ["PostgreSQL, private memory at most, MB", f"{result['postgresql_mb']:,.0f}"],
    ]
    return [table(["", ""], rows)], None


def reasons(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.reasons`."""
    rows = []
    for name, model in result["models"].items():
        rows.append([name, "StreamFlow", f"{model['seconds']:.1f}", str(model["bar"])])
        rows += [[name, peer, f"{taken:.1f}", ""] for peer, taken in model["peers"].items()]
    return [table(["", "", "seconds", "wanted, at most"], rows)], None


def image(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.image`."""
    medians = result["medians"]
    rows = [
        ["image, MB", f"{result['size'] / 1e6:.0f}"],
        ["of it added to its base, MB", f"{result['added_to_base'] / 1e6:.0f}"],
        ["start to ready, s", f"{medians['ready_seconds']:.2f}"],
        ["largest process at its start, MB", f"{medians['bytes_at_start'] / 1e6:.0f}"],
        ["largest process after load, MB", f"{medians['bytes_after_load'] / 1e6:.0f}"],
    ]
    return [table(["", "median"], rows)], None


def milliseconds(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.online_read`: columns of sizes, then one of medians per contestant."""
    rows = result["medians_ms"]
    sizes = [name for name, value in rows[0].items() if isinstance(value, int)]
    contestants = [name for name in rows[0] if name not in sizes]
    written = [
        [*(f"{row[name]:,}" for name in sizes), *(f"{row[name]:,.2f}" for name in contestants)]
        for row in rows
    ]
    header = [*sizes, *(f"{name}, ms" for name in contestants)]
    return [table(header, written)], pictures.lines(rows, sizes, contestants, "ms")


def materialization(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.materialize`."""
    rows = [
        [f"{size['users']:,}", name, f"{median:.2f}", f"{size['users'] / median:,.0f}"]
        for size in result["sizes"]
        for name, median in size["medians"].items()
    ]
    names = list(dict.fromkeys(name for size in result["sizes"] for name in size["medians"]))
    points = [{"users": size["users"], **size["medians"]} for size in result["sizes"]]
    header = ["users", "", "median s", "users/s"]
    return [table(header, rows)], pictures.lines(points, ["users"], names, "seconds")


def serving(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.serving`."""
    rows = []
    for name, by_connections in result["contestants"].items():
        for connections, row in by_connections.items():
            times = "" if name == OURS else _times(result, connections, row["per_second"])
            latencies = (_figure(row[figure]) for figure in ("p50_ms", "p99_ms"))
            rate, errors = f"{row['per_second']:,.0f}", f"{row['errors']:,}"
            rows.append([name, connections, rate, *latencies, errors, times])
    header = ["", "connections", "requests/s", "p50 ms", "p99 ms", "errors", "ours is, times"]
    tables = [table(header, rows)]
    batches = result["batch"]["median_ms"]
    if batches:
        header = [f"a batch of {result['batch']['rows']:,}", "median ms"]
        tables.append(table(header, [[name, f"{ms:,.1f}"] for name, ms in batches.items()]))
    return tables, pictures.serving(result["contestants"], OURS)


def _times(result: dict[str, Any], connections: str, rate: float) -> str:
    ours = result["contestants"][OURS][connections]["per_second"]
    return f"{ours / rate:,.2f}" if rate else ""


def cold_start(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.cold_start`."""
    header = ["", "ready, s", "first prediction, s", "memory, MB", "after load, MB"]
    figures = ("ready_seconds", "first_prediction_seconds")
    rows = [
        [name, *(f"{row[figure]:.2f}" for figure in figures)]
        + [f"{row[figure]:.0f}" for figure in ("megabytes_at_start", "megabytes_after_load")]
        for name, row in result["contestants"].items()
    ]
    times = {name: row["ready_seconds"] for name, row in result["contestants"].items()}
    return [table(header, rows)], pictures.bars(times, OURS, "seconds to ready")


def soak(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.soak`."""
    statuses = ", ".join(f"{count:,} times {name}" for name, count in result["statuses"].items())
    rows = [
        ["duration", f"{result['seconds']:,.0f} s"],
        ["requests/s", f"{result['per_second']:,.0f}"],
        ["answers", statuses],
        ["p99 at first, at last", _pair(result, "window", "p99_ms", "ms")],
        [
            "memory at first, at last",
            f"{result['first_megabytes']:,.0f} MB, {result['last_megabytes']:,.0f} MB",
        ],
    ]
    for name, value in result.get("restart", {}).items():
        words = name.removesuffix("_seconds").replace("_", " ")
        rows.append([words, "never" if value is None else f"{value:.2f} s"])
    return [table(["", ""], rows)], pictures.soak(result)


def prediction_log(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.prediction_log`."""
    rows = [
        [name, connections, f"{row['per_second']:,.0f}"]
        + [_figure(row[figure]) for figure in ("p50_ms", "p99_ms")]
        for name, by_connections in result["with_and_without"].items()
        for connections, row in by_connections.items()
    ]
    header = ["", "connections", "requests/s", "p50 ms", "p99 ms"]
    sizes = [[f"{result['rows']:,}", f"{result['bytes_per_row']:,.0f}"]]
    return [table(header, rows), table(["rows kept", "bytes per row, index included"], sizes)], None


def _pair(result: dict[str, Any], what: str, figure: str, unit: str) -> str:
    both = (result[f"{which}_{what}"][figure] for which in ("first", "last"))
    return ", ".join(f"{_figure(value)} {unit}" for value in both)


def load(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.load`."""
    rows = [
        [connections, f"{row['per_second']:,.0f}"]
        for connections, row in result["connections"].items()
    ]
    return [table(["connections", "requests/s"], rows)], None


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def table(header: list[str], rows: Rows) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
