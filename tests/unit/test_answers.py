"""Which column is the label, which of its values mean yes, and that its words are its own alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.raw_months import write_csv

from streamflow.errors import InvalidSettings
from streamflow.scaffold.contract_code import table_code
from streamflow.scaffold.draft import Proposal
from streamflow.scaffold.key_and_label import propose_key_and_label
from streamflow.scaffold.package import package_files
from streamflow.scaffold.profile import profile
from streamflow.scaffold.proposal import propose
from streamflow.scaffold.raw_tables import raw_tables
from streamflow.scaffold.words import label_strength, looked_for, not_known
from streamflow.scaffold.written import Told


def proposed(folder: Path, *positive: str, **said: str) -> Proposal:
    found = [profile(one) for one in raw_tables(folder)]
    return propose("stranger", found, *propose_key_and_label(found, **said), 0, positive)


def of_answers(tmp_path: Path, answers: list[str], name: str = "churned") -> Proposal:
    """A month whose label has these answers, one after the other."""
    rows = [[f"c{n}", n % 13, answers[n % len(answers)]] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "visits", name], *rows])
    return proposed(tmp_path)


@pytest.mark.parametrize(
    ("answers", "yes", "no"),
    [
        (["No", "No", "Yes"], [True], [False]),
        (["Yes", "Yes", "No"], [True], [False]),
        (["stayed", "stayed", "moved on"], ["moved on"], ["stayed"]),
        (["not churned", "churned", "churned"], ["churned"], ["not churned"]),
        (["active", "active", "churned", "left"], ["churned", "left"], ["active"]),
        (["0", "0", "1"], [1], [0]),
        (["2", "2", "1"], [1], [2]),
        (["no", "no", "late"], ["late"], ["no"]),
    ],
)
def test_yes_is_the_answer_that_says_so_or_is_looked_for_or_rarer(
    tmp_path: Path, answers: list[str], yes: list[Any], no: list[Any]
) -> None:
    found = of_answers(tmp_path, answers)
    assert ([*found.positive], [*found.negative]) == (yes, no)
    assert [type(one) for one in found.positive] == [type(one) for one in yes]


@pytest.mark.parametrize("unknown", ["Unknown", "unbekannt", "n/a", "?", "not known", "Pending"])
def test_an_answer_that_is_none_is_null_in_the_label_and_a_value_elsewhere(
    tmp_path: Path, unknown: str
) -> None:
    answers = ["stayed", "stayed", "stayed", "moved on", "moved on", unknown]
    rows = [[f"c{n}", unknown if n % 4 else "shop", answers[n % 6]] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "reached_by", "churned"], *rows])
    found = proposed(tmp_path)
    assert (found.positive, found.negative) == (("moved on",), ("stayed",))
    (table,) = found.tables
    column = table.profile.column("churned")
    assert (column.nulls, column.categories) == (20, ("moved on", "stayed"))
    code = table_code(found, table)
    assert 'Column("string", Check.isin(["stayed", "moved on"]), nullable=True)' in code
    by_convention = unknown in ("n/a", "?")
    if not by_convention:
        assert f'"churned": Csv(null=("", "{unknown}")),' in code
        assert unknown in table.profile.column("reached_by").categories
    assert any("20 of its rows have none" in note for note in found.notes)


def test_the_labels_words_are_no_rule_for_other_columns(tmp_path: Path) -> None:
    rows = [[f"c{n}", "YN"[n % 3 == 0], "NY"[n % 5 == 0]] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "mail", "renewed"], *rows])
    found = proposed(tmp_path, "N", label="renewed")
    (table,) = found.tables
    assert (table.read.true, table.read.false, table.read_columns) == (("Y",), ("N",), {})
    assert (found.positive, found.negative) == ((False,), (True,))
    assert "positive=False" in package_files(found, "data", "2024-01-31")["label.py"]


@pytest.mark.parametrize("answer", ["x", "yes", "1"])
def test_whether_a_blank_answer_means_no_is_asked_for(tmp_path: Path, answer: str) -> None:
    rows = [[f"c{n}", n % 13, "ab"[n % 2], answer if n % 3 == 0 else ""] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "visits", "plan", "churned"], *rows])
    with pytest.raises(InvalidSettings, match=r"customers\.csv, line 3, column 'churned'") as told:
        proposed(tmp_path)
    assert "--blank-is-no" in told.value.next
    found = [profile(one, Told(blank_is_no=True)) for one in raw_tables(tmp_path)]
    made = propose("stranger", found, *propose_key_and_label(found), 0)
    (table,) = made.tables
    column = table.profile.column("churned")
    assert (column.kind, column.nulls, made.positive) == ("boolean", 0, (True,))
    code = table_code(made, table)
    assert f'"churned": Csv(null=(), true=("{answer}",), false=("",))' in code


def test_several_states_of_which_none_is_called_so_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="Which values of the label 'status' mean yes") as it:
        of_answers(tmp_path, ["gold", "silver", "silver", "tin"], "status")
    assert "'silver' (60 rows)" in str(it.value)
    assert it.value.next.startswith("Say them: --positive ")


def test_one_of_several_columns_that_arent_called_so_is_asked_for(tmp_path: Path) -> None:
    rows = [[f"c{n}", n, "mf"[n % 2], "ab"[n % 3 == 0]] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "n", "gender", "plan"], *rows])
    with pytest.raises(InvalidSettings, match="none is called like a label") as refused:
        proposed(tmp_path)
    assert refused.value.next == "Say one of: --label customers.gender, customers.plan."


def test_the_key_is_one_of_the_labels_table(tmp_path: Path) -> None:
    """Not the one that the most tables have, if the label isn't in them."""
    for name in ("products", "prices", "stocks"):
        rows = [[f"p{n}", n * 7 % 50] for n in range(40)]
        write_csv(tmp_path / f"{name}.csv", [["product_id", name[:2]], *rows])
    rows = [[f"c{n}", n % 9, n % 3 == 0] for n in range(120)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "visits", "churned"], *rows])
    found = proposed(tmp_path)
    assert (found.join_key, found.label_table) == ("customer_id", "customers")


@pytest.mark.parametrize("header", ["", "Unnamed: 0", "index", "score"])
def test_what_only_counts_the_rows_is_no_key_where_another_column_is(
    tmp_path: Path, header: str
) -> None:
    rows = [[n, f"Mr. {n * 17 % 100}", n % 7, n % 3 == 0] for n in range(40)]
    write_csv(tmp_path / "guests.csv", [[header, "guest", "nights", "churned"], *rows])
    found = proposed(tmp_path)
    assert found.join_key == "guest"
    assert [one.name for one in found.features] == (["score"] if header == "score" else []) + [
        "nights"
    ]


def test_an_amount_of_which_each_row_has_its_own_is_no_key(tmp_path: Path) -> None:
    rows = [[n * 1.25, f"2024-01-{n + 1:02}", f"x{n % 30}", n % 2] for n in range(31)]
    write_csv(tmp_path / "sales.csv", [["amount", "day", "shop", "churned"], *rows])
    with pytest.raises(InvalidSettings, match="No column of texts or whole numbers"):
        proposed(tmp_path)


@pytest.mark.parametrize("leak", ["reason", "closed_code", "score"])
def test_what_tells_the_label_by_a_null_or_by_one_of_its_values_reads_as_a_leak(
    tmp_path: Path, leak: str
) -> None:
    rows = []
    for n in range(400):
        yes = n * 7919 % 5 == 0
        values = {
            "reason": "price" if yes else "",
            "closed_code": 2 if yes else (1, 3)[n % 2],
            "score": 0.9 + n / 9999 if yes else n / 999,
        }
        rows.append([f"c{n}", n % 13, values[leak], "yes" if yes else "no"])
    write_csv(tmp_path / "customers.csv", [["customer_id", "visits", leak, "churned"], *rows])
    notes = [one for one in proposed(tmp_path).notes if "nearly alone" in one]
    assert [one.partition(":")[0] for one in notes] == [f"customers.{leak}"]


def test_many_values_with_a_row_or_two_are_no_leak(tmp_path: Path) -> None:
    rows = [[f"c{n}", f"t{n % 45}", "yes" if n * 7919 % 5 == 0 else "no"] for n in range(150)]
    rows += [[f"d{n}", "none", "yes" if n % 5 == 0 else "no"] for n in range(60)]
    write_csv(tmp_path / "customers.csv", [["customer_id", "town", "churned"], *rows])
    assert [one for one in proposed(tmp_path).notes if "nearly alone" in one] == []


def test_words_of_labels_and_answers_are_whole_words() -> None:
    assert label_strength("churn", "x") > label_strength("is_churned", "x") > 0
    assert label_strength("failed_payments_90d", "x") > 0
    assert label_strength("days_left", "x") == label_strength("leftover", "x") == 0
    assert label_strength("response_time_at", "x") == 0
    assert not_known("Not Known")
    assert not not_known("known")
    # A button, or what may still be undone: it isn't the word for one who has left.
    assert not looked_for("cancel")
    assert not looked_for("not churned")
    assert looked_for("Attrited Customer")
