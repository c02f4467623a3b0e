"""The bounds of the gates in a use case: what is wrong with one is told, with the line to write."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny_case

from streamflow.history.contract_findings import contract_findings
from streamflow.use_case import Gates, UseCase
from streamflow.use_case.gates import gates_findings
from streamflow.use_case.module import use_case_findings

NUMBERS = [
    one.name
    for one in fields(Gates)
    if one.name not in ("segments", "recreated", "approval")  # the others are bounds
]


def test_the_defaults_have_no_finding() -> None:
    assert [*gates_findings(Gates())] == []


@pytest.mark.parametrize("name", NUMBERS)
def test_no_bound_is_a_bound_that_stops_nothing(name: str) -> None:
    assert [*gates_findings(replace(Gates(), **{name: None}))] == []


@given(
    name=st.sampled_from(NUMBERS),
    value=st.sampled_from([-0.1, float("nan"), float("inf"), True, "0.1", [0.1]]),
)
def test_what_is_no_bound_is_told_with_the_line_to_write(name: str, value: Any) -> None:
    (found,) = gates_findings(replace(Gates(), **{name: value}))
    assert found.where == "gates"
    assert found.what.startswith(f"{name} is {value!r}, not a number ")
    # The line to write is one that has no finding.
    assert [*gates_findings(eval(found.instead, {"Gates": Gates}))] == []


@pytest.mark.parametrize(
    ("gates", "said", "instead"),
    [
        ({"auc_margin": 0.02}, "it is dict, not Gates", "gates=Gates()"),
        (Gates(auc_margin=2), "auc_margin is 2, not", "Gates(auc_margin=0.02)"),
        (Gates(score_shift=0), "score_shift is 0, not", "Gates(score_shift=0.25)"),
        (Gates(latency_ratio=0.5), "at least 1", "Gates(latency_ratio=5.0)"),
        (Gates(recreated="no"), "not one of", 'Gates(recreated="require")'),  # type: ignore[arg-type]
        (Gates(approval="yes"), "not True", "Gates(approval=True)"),  # type: ignore[arg-type]
        (Gates(segments="machines.kind"), "one text", '("machines.kind",)'),  # type: ignore[arg-type]
        (Gates(segments=3), "a tuple of columns", '("table.column",)'),  # type: ignore[arg-type]
        (Gates(segments=("kind",)), "table.column", '("table.kind",)'),
        (Gates(segments=("machines.kind",) * 2), "more than once", "each segment once"),
    ],
)
def test_each_fault_has_its_sentence(gates: Any, said: str, instead: str) -> None:
    (found,) = use_case_findings(replace(tiny_case.use_case, gates=gates))
    assert said in found.what
    assert instead in found.instead


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ("machines.kind", None),
        ("readings.guard_open", None),
        ("machines.age_weeks", None),
        ("machines.kinds", "isn't a column of a table"),
        ("machine.kind", "isn't a column of a table"),
        ("machines.machine_id", "is the key"),
        ("readings.temperature_c", "has the type Float64"),
        ("failures.fails", "is the label"),
    ],
)
def test_a_segment_is_a_column_with_few_values(segment: str, said: str | None) -> None:
    def with_segments(*names: str) -> UseCase:
        return replace(tiny_case.use_case, gates=Gates(segments=names))

    found, _ = contract_findings(with_segments(segment))
    if said is None:
        assert found == []
        return
    (finding,) = found
    assert f"the segment {segment!r} {said}" in finding.what
    # The line to write is one that has no finding.
    corrected = finding.instead.partition('("')[2].partition('"')[0]
    assert contract_findings(with_segments(corrected))[0] == []


def test_the_documentation_has_each_field_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bring-your-own-use-case.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", text, re.MULTILINE)
    told = {
        name: default
        for names, defaults in rows
        for name, default in zip_longest(
            re.findall(r"`(\w+)`", names), defaults.split(", "), fillvalue="none"
        )
        if name in Gates.__dataclass_fields__
    }
    words = {None: "none", (): "none", "require": '`"require"`', False: "`False`"}
    for one in fields(Gates):
        if isinstance(one.default, float):
            assert float(told[one.name]) == one.default
        else:
            assert told[one.name] == words[one.default]
