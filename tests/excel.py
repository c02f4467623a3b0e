"""Writes a small Excel workbook, as its format's description has it: ECMA-376."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
OPEN = "http://schemas.openxmlformats.org"
MAIN, RELATIONS = f"{OPEN}/spreadsheetml/2006/main", f"{OPEN}/officeDocument/2006/relationships"
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
EPOCH = date(1899, 12, 30).toordinal()


def write_workbook(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]]) -> Path:
    """Write the sheets, each as rows of cells: text, numbers, booleans, dates, None."""
    numbers = {name: number for number, name in enumerate(sheets, 1)}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'{HEAD}<Types xmlns="{OPEN}/package/2006/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/>'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{TYPES}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{TYPES}.styles+xml"/>'
            + "".join(
                f'<Override PartName="/xl/sheet{number}.xml" ContentType="{TYPES}.worksheet+xml"/>'
                for number in numbers.values()
            )
            + "</Types>",
        )
        file.writestr("_rels/.rels", relations({1: ("officeDocument", "xl/workbook.xml")}))
        file.writestr(
            "xl/workbook.xml",
            f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>'
            + "".join(
                f'<sheet name="{escape(name)}" sheetId="{number}" r:id="r{number}"/>'
                for name, number in numbers.items()
            )
            + "</sheets></workbook>",
        )
        targets = {number: ("worksheet", f"sheet{number}.xml") for number in numbers.values()}
        targets[len(numbers) + 1] = ("styles", "styles.xml")
        file.writestr("xl/_rels/workbook.xml.rels", relations(targets))
        # Style 1 shows a number as a date.
        file.writestr(
            "xl/styles.xml",
            f'{HEAD}<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
            "</cellXfs></styleSheet>",
        )
        for name, rows in sheets.items():
            body = "".join(f"<row>{''.join(cell(value) for value in row)}</row>" for row in rows)
            file.writestr(
                f"xl/sheet{numbers[name]}.xml",
                f'{HEAD}<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>',
            )
    return path


def relations(targets: Mapping[int, tuple[str, str]]) -> str:
    one = "".join(
        f'<Relationship Id="r{number}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in targets.items()
    )
    return f'{HEAD}<Relationships xmlns="{OPEN}/package/2006/relationships">{one}</Relationships>'


def cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value!r}</v></c>"
    if isinstance(value, date):
        seconds = value.hour * 3600 + value.minute * 60 if isinstance(value, datetime) else 0
        return f'<c s="1"><v>{value.toordinal() - EPOCH + seconds / 86_400!r}</v></c>'
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
