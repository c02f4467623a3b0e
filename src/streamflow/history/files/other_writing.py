"""How a value may be meant that isn't written as the use case says: the line to write for it."""

from __future__ import annotations

import json
import re

from streamflow.use_case import Csv

# What stands where there is no value.
_NULLS = re.compile(
    r"\s*|#?n/?a|nan|nat|<na>|#?null!?|none|nil|missing|unknown|k\.a\.|#nv|[-?.]+", re.IGNORECASE
)
_BOOLEANS = (
    *(("yes", "no"), ("y", "n"), ("t", "f"), ("ja", "nein")),
    *(("j", "n"), ("oui", "non"), ("si", "no"), ("sim", "não"), ("on", "off")),
    *(("wahr", "falsch"), ("vrai", "faux")),
)
_DATE = re.compile(
    r"(?P<first>\d{1,2})(?P<mark>[-./ ])(?P<second>\d{1,2})(?P=mark)\d{4}|\d{4}[./]\d{2}[./]\d{2}"
)
_UNIT = re.compile(
    r"(?P<before>[%€$£¥]|[A-Z]{3})?\s*[+-]?[0-9][0-9.,' ]*(?P<after>%|[^\W\d_]{1,3}|€)?"
)


def line_for(kind: str, value: str, read: Csv) -> str:
    """`; if …, write in the use case …`, or nothing if how it is meant isn't plain."""
    if kind != "string" and value not in read.null and _NULLS.fullmatch(value):
        listed = ", ".join(map(_text, [*read.null, value]))
        return _said("it means that there is no value", f"null=({listed})", nullable=True)
    if kind == "boolean":
        return _boolean(value, read)
    if kind == "date":
        return _date(value, read)
    if kind in ("Int64", "Float64"):
        return _number(value, read)
    return ""


def _boolean(value: str, read: Csv) -> str:
    folded = value.strip().casefold()
    for true, false in _BOOLEANS:
        if folded in (true, false):
            as_there = str.title if value.istitle() else str.upper if value.isupper() else str
            texts = f"true=({_text(as_there(true))},), false=({_text(as_there(false))},)"
            return _said(f"it means {'true' if folded == true else 'false'}", texts)
    return ""


def _date(value: str, read: Csv) -> str:
    found = _DATE.fullmatch(value)
    if found is None:
        return ""
    if found["mark"] is None:
        return _said("its parts stand so", f'date="YYYY{value[4]}MM{value[7]}DD"')
    first, second, mark = int(found["first"]), int(found["second"]), found["mark"]
    days_first, months_first = (mark.join(one) for one in ("DM", "MD"))
    orders = [
        mark.join({"D": "DD", "M": "MM"}[one] for one in order.split(mark)) + f"{mark}YYYY"
        for order, day, month in ((days_first, first, second), (months_first, second, first))
        if day <= 31 and 1 <= month <= 12
    ]
    orders = [one for one in orders if one != read.date]
    return (
        _said("its parts stand so", " or ".join(f'date="{one}"' for one in orders))
        if orders
        else ""
    )


def _number(value: str, read: Csv) -> str:
    if read.decimal == "." and re.fullmatch(r"[+-]?[0-9]+,[0-9]+", value):
        told = _said("its comma is a decimal mark", 'decimal=","')
        if re.fullmatch(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}", value):
            told += _said("it stands between thousands", 'thousands=","')
        return told
    text = value.strip()
    if re.fullmatch(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", text) and read.decimal == ".":
        return _said("its comma is a decimal mark", 'decimal=",", thousands="."')
    if not read.thousands and re.fullmatch(r"[+-]?[0-9]{1,3}([,' ][0-9]{3})+(\.[0-9]+)?", text):
        mark = re.sub(r"[0-9+-]", "", text)[0]
        return _said(f"{mark!r} stands between thousands", f"thousands={_text(mark)}")
    found = _UNIT.fullmatch(text)
    unit = (found["before"] or found["after"]) if found else None
    if unit and unit not in read.units and unit.casefold() not in ("e", "inf", "nan"):
        return _said(f"{unit!r} is its unit", f"units=({_text(unit)},)")
    return ""


def _said(meaning: str, parts: str, *, nullable: bool = False) -> str:
    null = ", and nullable=True in its Column" if nullable else ""
    return f"; if {meaning}, write in the use case read=Csv({parts}){null}"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
