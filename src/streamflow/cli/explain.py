"""The command `explain-prediction`.

Exit codes: 0 the same prediction comes out again, 1 a different one, 2 it can't be checked.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow.cli.failure import errors_exit_with
from streamflow.cli.terminal import (
    Json,
    open_platform,
    print_result,
    print_table,
    show_progress,
)

if TYPE_CHECKING:
    from streamflow.pipeline.explain import Explanation
    from streamflow.pipeline.replay import Replay

app = typer.Typer()

SYMBOLS = {"same": "✓", "different": "✗", "unknown": "?"}
VERDICTS = {
    "same": "the same, to the last bit",
    "different": "something else comes out",
    "unknown": "can't be told",
}
EXIT_CODES = {"same": 0, "different": 1, "unknown": 2}


@app.command(
    "explain-prediction",
    epilog="Example: streamflow explain-prediction 200317fc1e824d048763c459dd2c2175",
)
def explain_prediction(
    request_id: Annotated[
        str, typer.Argument(metavar="REQUEST_ID", help="The `request_id` of the API's response.")
    ],
    entity: Annotated[
        str | None, typer.Option(metavar="ID", help="One of the ids of a batch.")
    ] = None,
    json: Json = False,
) -> None:
    """Show where a prediction came from, and make it again: from the prediction log, and from
    history as it was known at that time. Exit code 0: the same; 1: different; 2: can't be told."""
    from streamflow.pipeline import explain

    with (
        errors_exit_with(EXIT_CODES["unknown"], json),
        open_platform() as platform,
        show_progress(json, "explain-prediction") as progress,
    ):
        receipts = explain.find(platform, [request_id], entity)
        progress(f"{len(receipts)} of version {receipts[0].model.version}")
        explained = explain.explain(platform, receipts)
    verdict = max((one.verdict for one in explained), key=["same", "unknown", "different"].index)
    result = {
        "request_id": request_id,
        "verdict": verdict,
        "predictions": [{"verdict": one.verdict, **asdict(one)} for one in explained],
    }
    print_text = _print_one if len(explained) == 1 else _print_all
    print_result(result, json, lambda: print_text(explained))
    raise typer.Exit(EXIT_CODES[verdict])


def _print_one(explained: list[Explanation]) -> None:
    (one,) = explained
    receipt, model, promotion = one.receipt, one.receipt.model, one.promotion
    promoted = "not by `streamflow promote`"
    overridden = promotion.overrides if promotion is not None else ()
    if promotion is not None:
        promoted = f"{promotion.promoted_at:%Y-%m-%d %H:%M:%S} UTC by {promotion.promoted_by}"
        promoted += f" ({promotion.action}): {promotion.why}"
    rows = [
        ["answered", receipt.predicted_at.isoformat()],
        ["answer", _outcome(receipt.prediction, receipt.probability, receipt.problem)],
        ["model", f"{model.model} version {model.version}, in {model.stage} then"],
        ["promoted", promoted],
        *(["overridden", str(override)] for override in overridden),
        ["run", model.run_id],
        ["model hash", model.model_hash],
    ]
    print_table(f"{receipt.entity_id}, request {receipt.request_id}", ["", ""], rows)
    if receipt.values is not None and receipt.times is not None:
        print()
        features = []
        for name, view, _ in model.features:
            row = one.behind.get(view)
            time, recorded = receipt.times[view], "not in history"
            if time is None:
                recorded = ""
            elif row is not None:
                recorded = f"{row.recorded_at:%Y-%m-%d %H:%M:%S} ({row.ingestion_id})"
            event_time = f"{time:%Y-%m-%d %H:%M:%S}" if time else "no row"
            features.append([name, repr(receipt.values[name]), view, event_time, recorded])
        heading = ["feature", "value", "feature view", "event time (UTC)", "recorded (ingestion)"]
        print_table("features", heading, features)
    print()
    for source, replay in (("the log", one.from_log), ("history", one.from_history)):
        text = VERDICTS[replay.verdict]
        if receipt.problem is not None and replay.verdict != "unknown":
            text = replay.problem or "a prediction"
        print(f"{SYMBOLS[replay.verdict]} made again from {source}: {text}")
        for line in replay.why:
            print(f"    {line}")


def _print_all(explained: list[Explanation]) -> None:
    rows = [
        [
            one.receipt.entity_id,
            _outcome(one.receipt.prediction, one.receipt.probability, one.receipt.problem),
            f"{one.receipt.model.version}",
            _comparison(one.from_log),
            _comparison(one.from_history),
        ]
        for one in explained
    ]
    request_id = explained[0].receipt.request_id
    heading = ["id", "answer", "version", "from the log", "from history"]
    print_table(f"{len(rows):,} predictions of request {request_id}", heading, rows)
    print("Details of one: --entity ID")


def _comparison(replay: Replay) -> str:
    return f"{SYMBOLS[replay.verdict]} {replay.why[0] if replay.verdict == 'different' else ''}"


def _outcome(prediction: int | None, probability: float | None, problem: str | None) -> str:
    return problem or f"{prediction}, probability {probability!r}"
