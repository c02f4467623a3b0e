"""The tables and the picture of a result, for each form that results have."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from bench.peers import pictures
from bench.peers.contestants import OURS

Rows = list[list[str]]


def tables_and_picture(result: dict[str, Any]) -> tuple[list[str], Any]:
    """Tables and picture for each form that a result may have."""
    by_key: dict[str, Callable[[dict[str, Any]], tuple[list[str], Any]]] = {
        "added_to_base": image,
        "lookup_ms": lookups,
        "largest differences": monitoring_peers,
        "medians": seconds,
        "medians_ms": milliseconds,
        "sizes": materialization,
        "batch": serving,
        "windows": soak,
        "with_and_without": prediction_log,
        "contestants": cold_start,
        "connections": load,
        "measured": everyone,
        "process_mb": monitored,
        "models": reasons,
        "milliseconds": console_pages,
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


def everyone(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.score` or `bench.predict_file`: ours, then the model call alone."""
    rows = []
    for one in result["measured"]:
        memory = one["mebibytes"]
        most = max(memory.values()) if isinstance(memory, dict) else memory
        taken = (f"{statistics.median(runs):.2f}" for runs in one["seconds"].values())
        what = ", ".join(one[name] for name in ("model", "engine") if name in one)
        number = one.get("users", one.get("ids"))
        rows.append([what, f"{number:,}", *taken, f"{one['ratio']:.2f}", f"{most:,.0f}"])
    header = ["", "entities", "median s", "the model call alone, s", "times", "MiB"]
    return [table(header, rows)], None


def lookups(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.score_lookup`."""
    rows = [[name, f"{median:.3f}"] for name, median in result["medians"].items()]
    return [table(["", "p50 ms"], rows)], None


def monitored(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.monitor`."""
    rows = [[what, f"{taken:.1f} s"] for what, taken in result["seconds"].items()]
    rows.append(["this process, at most", f"{result['process_mb']:,.0f} MB"])
    rows.append(["PostgreSQL, private memory at most", f"{result['postgresql_mb']:,.0f} MB"])
    return [table(["", ""], rows)], None


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


def reasons(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.reasons`."""
    rows = []
    for name, one in result["models"].items():
        wanted = "" if one["bar"] is None else f"{one['bar']:.0f}"
        rows.append([f"ours, {name}", f"{one['seconds']:.1f}", wanted, f"{one['refused']:,}"])
        rows += [
            [f"{peer}, {name}", f"{taken:.1f}", "", ""] for peer, taken in one["peers"].items()
        ]
    return [table(["", "s", "at most", "refused"], rows)], None


def console_pages(result: dict[str, Any]) -> tuple[list[str], Any]:
    """The result of `bench.console`."""
    rows = [
        [page, f"{taken['median']:.0f}", f"{taken['first']:.0f}"]
        for page, taken in result["milliseconds"].items()
    ]
    return [table(["", "median ms", "the first time, ms"], rows)], None


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def table(header: list[str], rows: Rows) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
