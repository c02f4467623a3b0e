"""The command `predict`, for one entity or for a file of them."""

from __future__ import annotations

import json as json_module
import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.command import KEY_IN_CAPITALS
from streamflow.cli.terminal import Json, json_value, open_platform, print_result, show_progress

if TYPE_CHECKING:
    from streamflow.progress import Progress
    from streamflow.serving.predictor import Predictor

app = typer.Typer()


@app.command(
    epilog=f"Examples: streamflow predict {KEY_IN_CAPITALS} · "
    "streamflow predict --file ids.csv --output scores.csv"
)
def predict(
    entity_id: Annotated[
        str | None, typer.Argument(metavar=KEY_IN_CAPITALS, help="The entity's id.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Ids: CSV, or one a line.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File for the CSV; default: standard output.")
    ] = None,
    json: Json = False,
) -> None:
    """The Production model's answer from the online features, for one entity or a file of them."""
    from streamflow.bootstrap import production_predictor
    from streamflow.pipeline import predict as step_predict

    if (entity_id is None) == (file is None):
        raise typer.BadParameter("Give an id, or --file with a file of them.")
    if output is not None and file is None:
        raise typer.BadParameter("--output goes with --file.")
    if json and file is not None and output is None:
        raise typer.BadParameter("--json with --file needs --output: the results are CSV.")
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent}.")
    if output is not None and output.is_dir():
        raise typer.BadParameter(f"{output} is a folder.")
    now = datetime.now(UTC)
    if entity_id is not None:
        with open_platform() as platform, show_progress(json, "predict"):
            response = step_predict.predict(production_predictor(platform), entity_id, now)
        text = json_module.dumps(response, indent=2, default=json_value)
        print_result(response, json, lambda: print(text))
        return
    assert file is not None
    with open_platform() as platform, show_progress(json, "predict") as progress:
        predictor = production_predictor(platform)
        if output is None:
            step_predict.predict_file(predictor, file, sys.stdout, now, progress)
            return
        counts = _write(predictor, file, output, now, progress)
    result = {"output": str(output), "ids": counts.total(), **counts}

    def print_text() -> None:
        problems = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        print(f"{counts.total():,} ids: {problems or 'none'}. Written to {output}.")

    print_result(result, json, print_text)


def _write(
    predictor: Predictor, file: Path, output: Path, now: datetime, progress: Progress
) -> Counter[str]:
    """Write the output file; it gets its name only when it is complete."""
    from streamflow.pipeline.predict import predict_file

    try:
        descriptor, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as lines:
            counts = predict_file(predictor, file, lines, now, progress)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(output)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return counts
