"""The command `explain-prediction`: who said so, and does it come out again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamflow.cli.terminal import Json, opened, progress, show, table, tell_error
from streamflow.errors import StreamFlowError

if TYPE_CHECKING:
    from streamflow.pipeline.explain import Explanation, Replay

app = typer.Typer()

MARKS = {"same": "✓", "different": "✗", "unknown": "?"}
SAID = {
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
    request_id: Annotated[str, typer.Argument(help="As the API's answer has it.")],
    entity: Annotated[str | None, typer.Option(help="One of the ids of a batch.")] = None,
    json: Json = False,
) -> None:
    """Where a prediction came from, and whether it comes out again: from the prediction log, and
    from history as it was known then. Exit code 0: yes; 1: no; 2: can't be told."""
    from streamflow.pipeline import explain

    try:
        with opened() as platform, progress(json, "explain-prediction") as step:
            found = explain.find(platform, [request_id], entity)
            step(f"{len(found)} of version {found[0].model.version}")
            explained = explain.explain(platform, found)
    except StreamFlowError as error:
        tell_error(error.code, error.message, error.next, json)
        raise typer.Exit(2) from error
    verdict = max((one.verdict for one in explained), key=["same", "unknown", "different"].index)
    answer = {
        "request_id": request_id,
        "verdict": verdict,
        "predictions": [{"verdict": one.verdict, **asdict(one)} for one in explained],
    }
    tell = _tell_one if len(explained) == 1 else _tell_all
    show(answer, json, lambda: tell(explained))
    raise typer.Exit(EXIT_CODES[verdict])


def _tell_one(explained: list[Explanation]) -> None:
    (one,) = explained
    receipt, model, promotion = one.receipt, one.receipt.model, one.promotion
    promoted = "not by `streamflow promote`"
    if promotion is not None:
        promoted = f"{promotion.promoted_at:%Y-%m-%d %H:%M:%S} UTC by {promotion.promoted_by}"
        promoted += f" ({promotion.action}): {promotion.why}"
    rows = [
        ["answered", receipt.predicted_at.isoformat()],
        ["answer", _answer(receipt.prediction, receipt.probability, receipt.problem)],
        ["model", f"{model.model} version {model.version}, in {model.stage} then"],
        ["promoted", promoted],
        ["run", model.run_id],
        ["model hash", model.model_hash],
    ]
    table(f"{receipt.entity_id}, request {receipt.request_id}", ["", ""], rows)
    if receipt.values is not None and receipt.times is not None:
        print()
        features = []
        for name, view, _ in model.features:
            behind = one.behind.get(view)
            recorded = "not in history"
            if behind is not None:
                recorded = f"{behind.recorded_at:%Y-%m-%d %H:%M:%S} ({behind.ingestion_id})"
            moment = f"{receipt.times[view]:%Y-%m-%d %H:%M:%S}"
            features.append([name, repr(receipt.values[name]), view, moment, recorded])
        heading = ["feature", "value", "feature view", "event time (UTC)", "recorded (ingestion)"]
        table("features", heading, features)
    print()
    for source, replay in (("the log", one.from_log), ("history", one.from_history)):
        said = SAID[replay.verdict]
        if receipt.problem is not None and replay.verdict != "unknown":
            said = replay.problem or "a prediction"
        print(f"{MARKS[replay.verdict]} made again from {source}: {said}")
        for line in replay.why:
            print(f"    {line}")


def _tell_all(explained: list[Explanation]) -> None:
    rows: list[list[Any]] = [
        [
            one.receipt.entity_id,
            _answer(one.receipt.prediction, one.receipt.probability, one.receipt.problem),
            f"{one.receipt.model.version}",
            _mark(one.from_log),
            _mark(one.from_history),
        ]
        for one in explained
    ]
    request_id = explained[0].receipt.request_id
    heading = ["id", "answer", "version", "from the log", "from history"]
    table(f"{len(rows):,} predictions of request {request_id}", heading, rows)
    print("Details of one: --entity ID")


def _mark(replay: Replay) -> str:
    return f"{MARKS[replay.verdict]} {replay.why[0] if replay.verdict == 'different' else ''}"


def _answer(prediction: int | None, probability: float | None, problem: str | None) -> str:
    return problem or f"{prediction}, probability {probability!r}"
