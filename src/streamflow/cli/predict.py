"""The command `predict`: for one entity, or for a file of them."""

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

from streamflow.cli.terminal import Json, opened, plain, progress, show

if TYPE_CHECKING:
    from streamflow.progress import Progress
    from streamflow.serving.predictor import Predictor

app = typer.Typer()


@app.command(
    epilog="Examples: streamflow predict 0013-MHZWF · "
    "streamflow predict --file ids.csv --output scores.csv"
)
def predict(
    entity_id: Annotated[
        str | None, typer.Argument(metavar="[USER_ID]", help="Whom to ask about.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Ids: CSV, or one a line.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the CSV goes; default: here.")] = None,
    json: Json = False,
) -> None:
    """The Production model's answer from the online features, for one entity or a file of them."""
    from streamflow.bootstrap import production_predictor
    from streamflow.pipeline import predict as step

    if (entity_id is None) == (file is None):
        raise typer.BadParameter("Give an id, or --file with a file of them.")
    if output is not None and file is None:
        raise typer.BadParameter("--output goes with --file.")
    if json and file is not None and output is None:
        raise typer.BadParameter("--json with --file needs --output: the answers are CSV.")
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent}.")
    if output is not None and output.is_dir():
        raise typer.BadParameter(f"{output} is a folder.")
    now = datetime.now(UTC)
    if entity_id is not None:
        with opened() as platform, progress(json, "predict"):
            answer = step.predict(production_predictor(platform), entity_id, now)
        show(answer, json, lambda: print(json_module.dumps(answer, indent=2, default=plain)))
        return
    assert file is not None
    with opened() as platform, progress(json, "predict") as part:
        predictor = production_predictor(platform)
        if output is None:
            step.predict_file(predictor, file, sys.stdout, now, part)
            return
        counts = _write(predictor, file, output, now, part)
    told = {"output": str(output), "ids": counts.total(), **counts}

    def lines() -> None:
        problems = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        print(f"{counts.total():,} ids: {problems or 'none'}. Written to {output}.")

    show(told, json, lines)


def _write(
    predictor: Predictor, file: Path, output: Path, now: datetime, part: Progress
) -> Counter[str]:
    """All of the file or none: it takes its name when it is whole."""
    from streamflow.pipeline.predict import predict_file

    try:
        descriptor, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as lines:
            counts = predict_file(predictor, file, lines, now, part)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(output)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return counts
