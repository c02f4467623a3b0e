"""Every text of the console, with those of its pages in `page_texts`."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow.console.page_texts import PAGE_TEXTS

_SHARED: Mapping[str, str] = {
    # What all pages share.
    "product": "StreamFlow",
    "unknown": "-",
    "none": "none",
    "version": "version {number}",
    "alarms": "alarms: {number}",
    "value.null": "not applicable",
    "value.true": "yes",
    "value.false": "no",
    "skip": "Skip to the content",
    "nav": "Pages",
    "nav.overview": "Overview",
    "nav.entities": "{entities}",
    "nav.models": "Models",
    "nav.data": "Data",
    "nav.history": "History",
    "nav.months": "Months",
    "theme": "Colours",
    "theme.": "as the system",
    "theme.light": "light",
    "theme.dark": "dark",
    "sign_out": "Sign out",
    "signed_in": "Signed in as {who}",
    "footer": "StreamFlow's console for the use case {use_case}. Times are in UTC.",
    "severity.well": "well",
    "severity.warning": "warning",
    "severity.critical": "critical",
    "severity.unknown": "not known",
    "back": "Back to the overview",
    # Problems.
    "problem.title": "That didn't work",
    "problem.sign_in": "Sign in",
    "failed": "The console couldn't make this page.",
    "failed.next": "Try again; the console's log says what failed.",
    # Signing in.
    "sign_in": "Sign in",
    "sign_in.title": "Sign in",
    "sign_in.key": "API key",
    "sign_in.hint": "A key with the scope read shows every page; promote is for acting. "
    "Make one: streamflow keys create --scope read --scope promote.",
    "sign_in.open": "Without a key every page can be read from this machine; acting needs one.",
    # Whether it is well.
    "standing.well": "It is well: the newest month is loaded, online and scored, "
    "and raised no alarm.",
    "standing.no_month": "There is no month yet.",
    "standing.no_month.next": "Load the first one: streamflow ingest DIR --as-of DATE.",
    "standing.registry": "Nobody knows which version is in Production: MLflow doesn't answer.",
    "standing.no_production": "No version is in Production, so nobody can be predicted for.",
    "standing.no_production.next": "Train one with streamflow train, and promote it with "
    "streamflow promote VERSION --to production --why TEXT.",
    "standing.critical": "{alarms}: {what}",
    "standing.warning": "{alarms}: {what}",
    "standing.online": "The month {month} is loaded, but the features online are of {online}.",
    "standing.online.next": "Bring it online: streamflow materialize --as-of {month}.",
    "standing.unscored": "Nobody has been scored for the newest month, {month}.",
    "standing.unscored.next": "Score everyone: streamflow score --as-of {month}.",
    "standing.unmonitored": "Nobody has looked yet at what moved in the newest month, {month}.",
    "standing.unmonitored.next": "Look: streamflow monitor --as-of {month}.",
    # The overview.
    "overview.title": "{use_case}: overview",
    "overview.alarms": "What the newest report says",
    "overview.report": "Month {month}, version {version}, looked at on",
    "overview.no_report": "No month has been monitored yet.",
    "overview.no_alarms": "No alarm was raised.",
    "overview.stages": "Who answers",
    "overview.features": "How old the features are",
    "overview.features.caption": "The newest values online of each feature view",
    "overview.no_features": "Nothing is online yet.",
    "overview.quality": "Quality by month",
    "overview.quality.caption": "AUC: promised at promotion, by the labels that came, "
    "and estimated before they are there; with 95 % intervals.",
    "overview.no_quality": "No month's labels are there yet, and there is no estimate.",
    "overview.answers": "Requests",
    "overview.predictions": "predictions in {hours} hours",
    "overview.problems": "without an answer",
    "overview.mean": "mean time of /predict",
    "overview.api": "API",
    "overview.api.none": "none runs here",
    "overview.api.silent": "doesn't answer",
    "road.label": "The road of a row, from a month's files to the report, with the state of each "
    "station",
    "road.month": "Month",
    "road.month.none": "nothing loaded",
    "road.month.corrections": "{rows} corrected rows",
    "road.month.no_corrections": "no corrections",
    "road.history": "History",
    "road.history.months": "months: {months}",
    "road.history.rows": "newest: {rows} rows",
    "road.history.withdrawn": "withdrawn: {number}",
    "road.features": "Features",
    "road.features.none": "nothing online",
    "road.features.views": "views online: {number}",
    "road.features.behind": "behind the month",
    "road.features.newest": "of the newest month",
    "road.production": "Production",
    "road.empty": "empty",
    "road.staging": "Staging: version {number}",
    "road.no_staging": "Staging: empty",
    "road.api": "Answers",
    "road.api.answers": "{number}",
    "road.api.hours": "in {hours} hours",
    "road.api.problems": "{number} without one",
    "road.api.down": "no API runs here",
    "road.api.silent": "the API is silent",
    "road.api.mean": "{ms} ms on average",
    "road.scores": "Scores",
    "road.scores.none": "nobody scored",
    "road.scores.of": "of {month}",
    "road.scores.by": "by version {number}",
    "road.behind": "behind the month",
    "road.report": "Report",
    "road.report.none": "no month watched",
    "road.report.well": "no alarm",
    "road.report.of": "of {month}",
    "verdict.not needed": "training not needed",
    "verdict.proposed": "training proposed",
    "verdict.confirmed": "train again",
    "verdict.held off": "training held off",
    "recreated.identical": "made again: the same",
    "recreated.different": "made again: differs",
    "recreated.forgotten": "rows were forgotten",
    "recreated.can't tell": "can't be made again",
}

TEXTS: Mapping[str, str] = {**_SHARED, **PAGE_TEXTS}


def text(name: str, /, **values: object) -> str:
    """The text with this name, with the values in its places."""
    return TEXTS[name].format(**values)
