"""Whether it is well, and if not, what to do, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from streamflow.console.reading.state import Severity, State
from streamflow.console.texts import text


@dataclass(frozen=True)
class Standing:
    """A sentence with its severity; `advice` says what to do, and is empty where nothing is."""

    severity: Severity
    sentence: str
    advice: str = ""


def standing(state: State) -> Standing:
    """The first thing that isn't well, in the order in which one would mend it."""
    return next(_findings(state), Standing("well", text("standing.well")))


def online_month(state: State) -> date | None:
    """The day of the oldest values online among the feature views, None without any."""
    return min(state.views.values(), default=None)


def _findings(state: State) -> Iterator[Standing]:
    month, monitored = state.month, state.monitored
    if month is None:
        yield Standing("unknown", text("standing.no_month"), text("standing.no_month.next"))
        return
    if state.registry_error:
        yield Standing("critical", text("standing.registry"), state.registry_error)
    if state.production is None:
        yield Standing(
            "critical", text("standing.no_production"), text("standing.no_production.next")
        )
    alarms = monitored.alarms if monitored is not None else ()
    critical = [one for one in alarms if one.severity == "critical"]
    if monitored is not None and critical:
        yield Standing(
            "critical",
            text(
                "standing.critical",
                alarms=_alarms(len(critical), "critical "),
                what=critical[0].sentence,
            ),
            monitored.retraining.sentence,
        )
    online = online_month(state)
    if state.production is not None and (online is None or online < month.as_of):
        yield Standing(
            "warning",
            text("standing.online", month=month.as_of, online=online or text("unknown")),
            text("standing.online.next", month=month.as_of),
        )
    if state.production is not None and (
        state.scoring is None or state.scoring.as_of < month.as_of
    ):
        yield Standing(
            "warning",
            text("standing.unscored", month=month.as_of),
            text("standing.unscored.next", month=month.as_of),
        )
    if monitored is not None and alarms:
        yield Standing(
            "warning",
            text("standing.warning", alarms=_alarms(len(alarms), ""), what=alarms[0].sentence),
            monitored.retraining.sentence,
        )
    if state.production is not None and (monitored is None or monitored.as_of < month.as_of):
        yield Standing(
            "unknown",
            text("standing.unmonitored", month=month.as_of),
            text("standing.unmonitored.next", month=month.as_of),
        )


def _alarms(number: int, kind: str) -> str:
    return f"{number} {kind}alarm{'s' if number > 1 else ''}"
