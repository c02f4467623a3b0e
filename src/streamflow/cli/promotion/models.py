"""The commands `runs` and `models`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from streamflow.cli.terminal import (
    OTHER,
    Json,
    forgotten_use_case,
    open_platform,
    print_result,
    print_table,
    show_progress,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow.registry.evaluations import RecordedEvaluation
    from streamflow.registry.records import ModelVersion

app = typer.Typer()


@app.command(epilog="Example: streamflow runs --json")
def runs(json: Json = False) -> None:
    """All training runs, newest first."""
    from streamflow.training import evaluation

    with open_platform() as platform, show_progress(json, "runs"):
        done = platform.registry.runs()
        hint = "" if done else forgotten_use_case(platform)
    result = [
        {**asdict(run), "started_at": datetime.fromtimestamp(run.started_at, UTC)} for run in done
    ]
    rows = [
        [
            run.run_id,
            run.status,
            f"{datetime.fromtimestamp(run.started_at, UTC):%Y-%m-%d %H:%M}",
            run.params.get("as_of", ""),
            run.params.get("model", ""),
            evaluation.auc_in_words(run.metrics),
        ]
        for run in done
    ]
    columns = ["run", "status", "started (UTC)", "as of", "model", "AUC"]

    def print_text() -> None:
        print_table("runs", columns, rows)
        if len(done) > 1:
            print("Each AUC is of its own run's rows; `streamflow models` says which compare.")
        if not done:
            _print_nothing_yet("run", hint)

    print_result(result, json, print_text)


@app.command(epilog="Example: streamflow models")
def models(json: Json = False) -> None:
    """All versions of the registered model, newest first, with stage and alias, and the gates that
    they went to production in spite of."""
    from streamflow.promotion import model_history
    from streamflow.promotion.overrides import overrides
    from streamflow.registry import evaluations
    from streamflow.training import evaluation

    with open_platform() as platform, show_progress(json, "models"):
        done = platform.registry.versions()
        name = platform.use_case.registered_model
        made = evaluations.evaluations(platform.database, name)
        in_spite = overrides(model_history.changes(platform.database, name))
        hint = "" if done else forgotten_use_case(platform)
    rows = [
        [
            str(one.version),
            one.stage,
            ", ".join(one.aliases),
            evaluation.auc_in_words(one.metrics),
            one.run_id,
        ]
        for one in done
    ]
    columns = ["version", "stage", "alias", "AUC at training", "run"]

    def print_text() -> None:
        print_table(name, columns, rows)
        for sentence in dict.fromkeys(one.judged_on for one in done):
            which = [str(one.version) for one in done if one.judged_on == sentence]
            print(f"Version{'s' if len(which) > 1 else ''} {', '.join(which)}: {sentence}")
        for one in in_spite:
            print(one)
        _print_comparable(done)
        _print_evaluations(evaluations.on_same_rows(made))
        if not done:
            _print_nothing_yet("version", hint)

    result = [
        {
            **asdict(one),
            "evaluations": [asdict(each) for each in made if each.run_id == one.run_id],
            "overrides": [asdict(each) for each in in_spite if each.version == one.version],
        }
        for one in done
    ]
    print_result(result, json, print_text)


def _print_comparable(versions: Sequence[ModelVersion]) -> None:
    """Which of the figures of training are of the same rows."""
    if len(versions) < 2:
        return
    numbers: dict[str, list[int]] = {}
    for one in versions:
        if one.judged_rows:
            numbers.setdefault(one.judged_rows, []).append(one.version)
    same = [f"{', '.join(map(str, each))}" for each in numbers.values() if len(each) > 1]
    if len(numbers) == 1 and len(same[0].split(", ")) == len(versions):
        print("All of them are of the same rows.")
        return
    besides = f" but for those of versions {'; '.join(same)}" if same else ""
    print(
        f"The AUCs at training are of different rows{besides}: they don't say which version is "
        "better. `streamflow evaluate VERSION --as-of DATE` does, on the same rows."
    )


def _print_evaluations(groups: Sequence[Sequence[RecordedEvaluation]]) -> None:
    """A table for each month and its rows."""
    from streamflow.training import evaluation

    for group in groups:
        first = group[0]
        rows = [
            [
                str(one.version),
                evaluation.auc_in_words(one.figures),
                "can't tell" if one.trained_on is None else f"{one.trained_on:,}",
            ]
            for one in group
        ]
        print()
        print_table(
            f"evaluated on {first.as_of}: {first.rows:,} rows, {first.positives:,} with the label "
            f"true, hash {first.rows_hash[:12]}",
            ["version", "AUC", "rows trained on"],
            rows,
        )
    if len(groups) > 1:
        print("Figures of different tables are of different rows: only those of one compare.")


def _print_nothing_yet(what: str, hint: str) -> None:
    other = f" {hint} {OTHER}" if hint else ""
    print(f"No {what} yet.{other} Run `streamflow train`.")
