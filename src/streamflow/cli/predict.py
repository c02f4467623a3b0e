"""The command `predict`, for one entity or for a file of them."""

from __future__ import annotations

import io
import json as json_module
import sys
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.command import KEY, KEY_IN_CAPITALS
from streamflow.cli.terminal import Json, json_value, open_platform, print_result, show_progress
from streamflow.entity_id import RULE, is_id

if TYPE_CHECKING:
    from streamflow.platform import Platform
    from streamflow.progress import Progress

app = typer.Typer()


@app.command(
    epilog=f"Examples: streamflow predict {KEY_IN_CAPITALS} · "
    "streamflow predict --file ids.csv --output scores.csv"
)
def predict(
    entity_id: Annotated[
        str | None, typer.Argument(metavar=KEY_IN_CAPITALS, help="The entity's id.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help=f"CSV or .parquet with a column {KEY}; its other columns are ignored."),
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="The file has one id a line and no header.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="NAME.csv or NAME.parquet, replaced if it exists; default: print CSV."),
    ] = None,
    json: Json = False,
) -> None:
    """The Production model's answer from the online features, for one entity or a file of them."""
    from streamflow.bootstrap import production_predictor
    from streamflow.pipeline import predict as step_predict

    if (entity_id is None) == (file is None):
        raise typer.BadParameter("Give an id, or --file with a file of them.")
    if entity_id is not None:
        if output is not None or no_header:
            raise typer.BadParameter("--output and --no-header go with --file.")
        if not is_id(entity_id):
            raise typer.BadParameter(f"{entity_id!r} is no id, which is {RULE}.")
        with open_platform() as platform, show_progress(json, "predict"):
            predictor = production_predictor(platform)
            response = step_predict.predict(predictor, entity_id, datetime.now(UTC))
        text = json_module.dumps(response, indent=2, default=json_value)
        print_result(response, json, lambda: print(text))
        return
    assert file is not None
    if no_header and file.suffix.casefold() == ".parquet":
        raise typer.BadParameter("--no-header is for CSV: Parquet always names its columns.")
    if output is not None:
        require_output(output)
        if output.exists() and file.exists() and output.samefile(file):
            raise typer.BadParameter(f"{output} is the file of ids; name another file.")
    elif json:
        raise typer.BadParameter("--json with --file needs --output: the results are CSV.")
    with open_platform() as platform, show_progress(json, "predict") as progress:
        counts = _predict_file(platform, file, not no_header, output, progress)
    text = _counts_text(counts)
    where = f" Written to {output}." if output is not None else ""
    if counts and not counts["predicted"]:
        raise step_predict.NothingPredicted(
            f"None of the ids in {file} has a prediction. {text}{where}",
            "Compare them with the ids that were ingested; `streamflow status` shows the months.",
        )
    result = {"output": str(output), "ids": counts.total(), **counts}
    if output is not None:
        print_result(result, json, lambda: print(f"{text}{where}"))
    else:
        print(text, file=sys.stderr)


def require_output(output: Path) -> None:
    """Raise BadParameter unless the name says what to write, and no folder or device is there."""
    from streamflow.pipeline.prediction_file import KINDS, kind

    if not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent}.")
    if output.exists() and not output.is_file():
        raise typer.BadParameter(f"{output} is a {'folder' if output.is_dir() else 'device'}.")
    if kind(output) not in KINDS:
        raise typer.BadParameter(
            f"{output} says by its ending neither CSV nor Parquet: name it .csv or .parquet."
        )


def _predict_file(
    platform: Platform, file: Path, header: bool, output: Path | None, progress: Progress
) -> Counter[str]:
    """Print CSV, or write the output file, which gets its name when it is complete."""
    from streamflow.bootstrap import production_predictor
    from streamflow.pipeline import prediction_file
    from streamflow.pipeline.predict import predict_file
    from streamflow.scratch import replacement

    predictor = production_predictor(platform)
    now, key = datetime.now(UTC), predictor.join_key
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # it's a file, whatever the terminal shows
            sys.stdout.reconfigure(encoding="utf-8")
        write = prediction_file.csv_rows(sys.stdout, key)
        return predict_file(predictor, file, write, now, progress, header=header)
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(replacement(output))
        except OSError as error:
            raise typer.BadParameter(f"{output} can't be written: {error.strerror}.") from error
        kind = prediction_file.kind(output)
        write = stack.enter_context(prediction_file.written(temporary, kind, key))
        return predict_file(predictor, file, write, now, progress, header=header)


def _counts_text(counts: Counter[str]) -> str:
    """Such as `2 ids: 1 predicted, 1 unknown_entity.`"""
    counted = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    return f"{counts.total():,} ids: {counted or 'none'}."
