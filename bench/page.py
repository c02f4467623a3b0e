"""Write the tables and pictures of `docs/benchmarks.md` from `bench/results`, and the tables of the
README of `feast_postgres`.

The text of a page stays; what is between `<!-- NAME -->` and `<!-- end of NAME -->` is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from typing import Any

from bench import RESULTS, tables
from bench.peers import pictures

PAGE = RESULTS.parent.parent / "docs" / "benchmarks.md"
PACKAGE = PAGE.parent.parent / "src" / "feast_postgres" / "README.md"
PICTURES = PAGE.with_suffix("")
MARKED = re.compile(r"<!-- (\w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)


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
    written, picture = tables.tables_and_picture(result)
    parts = [f"*{result['claim']}*", *written]
    if pictured and picture is not None:
        PICTURES.mkdir(exist_ok=True)
        pictures.save(picture, PICTURES / f"{name}.svg")
        parts.append(f"![{name}]({PICTURES.name}/{name}.svg)")
    if "bars" in result:
        parts.append(
            tables.table(
                ["wanted", "measured", ""],
                [
                    [bar["bar"], _measured(bar["measured"]), "met" if bar["met"] else "**not met**"]
                    for bar in result["bars"]
                ],
            )
        )
    for what, reason in result.get("skipped", {}).items():
        parts.append(f"Skipped: {what} ({reason}).")
    parts.append(f"{result['machine']}.")
    return "\n\n".join(parts) + "\n"


def _measured(value: float) -> str:
    return f"{value:.0e}" if 0 < value < 0.005 else f"{value:,.2f}"


if __name__ == "__main__":
    sys.exit(main())
