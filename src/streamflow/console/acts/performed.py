"""The acts by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from streamflow import log
from streamflow.console.acts.act import ActFailed, Tell
from streamflow.console.problems import described, status_of
from streamflow.errors import StreamFlowError
from streamflow.platform import Platform
from streamflow.promotion.gates.result import GateResult

Act = Callable[[Platform, Mapping[str, Any], Tell], Mapping[str, Any]]


def perform(
    platform: Platform, name: str, arguments: Mapping[str, Any], tell: Tell
) -> Mapping[str, Any]:
    """Do the act; returns its result. Raises what the act does."""
    return ACTS[name](platform, arguments, tell)


def failure(error: Exception) -> ActFailed:
    """The error as the console gets it; of what nobody expected, the log has the lines."""
    if not isinstance(error, StreamFlowError):
        lines = log.traceback_lines(error)
        log.warning("act_failed", error=type(error).__name__, lines=lines)
    said = described(error)
    return ActFailed(status_of(error), said.code, said.message, said.next)


def promote(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Move `version` to `stage`, with `why`, `who` and `now`, if its gates let it."""
    from streamflow.promotion import check_version
    from streamflow.promotion import promote as promotion

    given = (arguments["version"], arguments["stage"], arguments["why"], arguments["who"])
    check = partial(check_version.check_to_promote, told=_told(tell))
    return promotion.promote(
        platform, *given, _now(arguments), progress=_progress(tell), check=check
    ).as_dict()


def rollback(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Bring back the version before `leaving`."""
    from streamflow.promotion import promote as promotion

    return promotion.rollback(
        *(platform, arguments["why"], arguments["who"], _now(arguments), _progress(tell)),
        leaving=arguments["leaving"],
    ).as_dict()


def approve(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Approve `version`."""
    from streamflow.promotion import approve as approving

    given = (arguments["version"], arguments["why"], arguments["who"])
    approving.approve(platform, *given, _now(arguments))
    return {}


def canary(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Let `version` answer `percent` of the entities."""
    from streamflow.promotion import canary as canaries

    given = (arguments["version"], float(arguments["percent"]), arguments["why"], arguments["who"])
    canaries.set_canary(platform, *given, _now(arguments))
    return {}


def export(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Write the list of the first `top` to `file`, in the format `kind`."""
    from streamflow.pipeline.month.lists.export_list import Choice, export_list
    from streamflow.scores.campaigns import list_file
    from streamflow.scores.campaigns.selection import Limits

    choice = Choice(
        date.fromisoformat(arguments["as_of"]),
        Limits(top=arguments["top"]),
        float(Decimal(arguments["hold_out"]) / 100),
        arguments["campaign"] or None,
    )
    done = export_list(
        *(platform, choice, arguments["who"], _now(arguments)),
        lambda columns: list_file.write(Path(arguments["file"]), arguments["kind"], columns),
        _progress(tell),
    )
    return asdict(done)


def forget(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Forget `entity`; the bytes in the database's files stay for `streamflow forget --finish`."""
    from streamflow.operations.forgetting import forget as forgetting

    given = ([arguments["entity"]], arguments["why"], arguments["who"])
    done = forgetting.forget(
        platform, *given, _now(arguments), _progress(tell), later=True, even_if_unknown=False
    )
    return {
        "files": len(done.files),
        "runs": len(done.runs),
        "left": [asdict(one) for one in done.left],
    }


def replay(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Give the answer to `request` about `entity` again, from the log and from history."""
    from streamflow.pipeline import explain

    found = explain.find(platform, [arguments["request"]], arguments["entity"])
    (explained, *_) = explain.explain(platform, found)
    return {**asdict(explained), "verdict": explained.verdict}


def compare(platform: Platform, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
    """Two versions on the same rows."""
    from streamflow.promotion.lookup.side_by_side import side_by_side

    given = (arguments["first"], arguments["second"])
    return side_by_side(platform, *given, _now(arguments), _progress(tell)).as_dict()


ACTS: Mapping[str, Act] = {
    "promote": promote,
    "rollback": rollback,
    "approve": approve,
    "canary": canary,
    "export": export,
    "forget": forget,
    "replay": replay,
    "compare": compare,
}


def _progress(tell: Tell) -> Callable[[str], None]:
    return lambda line: tell({"progress": line})


def _told(tell: Tell) -> Callable[[GateResult], None]:
    return lambda gate: tell({"gate": gate.as_dict()})


def _now(arguments: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(arguments["now"])).astimezone(UTC)
