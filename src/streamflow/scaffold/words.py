"""How keys, labels, and answers are called in people's files; all by small letters."""

from __future__ import annotations

import re

# The last word of a key's name.
IS_KEY = re.compile(r"(^|_)(id|ids|key|nr|no|number|num|code|uuid|guid|nummer|pk|ident)$|id$")
# What programs call a column that only counts the rows: pandas, R, spreadsheets.
IS_ROW_NUMBER = re.compile(
    r"^(|index|(index_)?level_0|unnamed(_\d+)*|x_?1|rows?|row_?(names?|index|number)|zeile|line|_?c0|"
    r"column_?1|table)$"
)
# A column of several states, of which some are what is looked for.
IS_STATE = re.compile(r"(^|_)(status|state|stand|outcome|result|class|klasse)$")

# A label is called by one of these alone, or has one of them among its words.
_LABELS = (
    *("churn", "churned", "label", "target", "fraud", "is_fraud", "isfraud", "fraudulent"),
    *("attrition", "exited", "kuendigung", "gekuendigt", "default", "defaulted", "dropout"),
    *("outcome", "y", "converted", "survived", "ausfall", "abgewandert", "storniert", "lost"),
    *("no_show", "noshow", "nicht_erschienen", "tampered", "stolen", "overdue"),
)
_LABEL_WORDS = (
    *("churn", "churned", "label", "target", "outcome", "fraud", "attrition", "dropped"),
    *("dropout", "kuendigung", "gekuendigt", "closed", "left", "exited", "lost", "response"),
    *("converted", "default", "defaulted", "fail", "failed", "failure", "failures", "failing"),
    *("cancel", "cancelled", "canceled", "cancels", "cancellation", "cancellations", "closings"),
    *("churns", "defaults", "ausfall", "ausfaelle", "subscribed", "purchased", "bought"),
    *("readmitted", "delinquent", "dlqin2yrs", "deposit", "diagnosis", "survived", "returned"),
    *("broken", "breakdown", "renewed", "abandoned", "clicked", "quit", "resigned", "lapsed"),
    *("class", "klasse", "answer", "event", "labels", "bad", "resilie", "resiliation", "desabonne"),
    *("baja", "abandono", "cancelado", "disdetta", "storno", "austritt", "wechsel"),
)
_OF_A_NUMBER = re.compile(
    r"(^|_)(count|number|num|days|months|hours|rate|share|amount|score|at|on)"
)

# An answer that means yes, or no, in any place.
YES = ("1", "true", "yes", "y", "t", "ja", "j", "oui", "si", "sí", "sim", "wahr", "vrai", "tak")
NO = ("0", "false", "no", "n", "f", "nein", "non", "nao", "não", "falsch", "faux", "nie")
# A state in which all is well, in which nothing that is looked for has come about.
WELL = (
    *("ok", "okay", "o.k.", "i.o.", "in ordnung", "passed", "pass", "good", "normal", "healthy"),
    *("fine", "active", "aktiv", "actif", "activo", "current", "paid", "stayed", "retained"),
    *("existing", "existing customer", "none", "alive", "open account", "negative", "genuine"),
)
# An answer that is none: neither yes nor no, but not known.
_NOT_KNOWN = re.compile(
    r"(|[-?.]+|#?n/?a|nan|null|none|nil|unknown|not (yet )?known|unbekannt|inconnu|desconocido|"
    r"missing|fehlt|k\.? ?a\.?|keine angabe|tb[acd]|pending|open|offen|undecided|undetermined|"
    r"not (available|applicable|reported|recorded|specified|inspected|tested|checked|examined|"
    r"assessed|measured|rated|evaluated|determined|asked|answered|stated|due)|unspecified|"
    r"untested|unrated|no (answer|data|information|result)|inconclusive|other/unknown)"
)
# A state that is looked for: who is in it has left, failed, or the like.
_LOOKED_FOR = re.compile(
    r"(churn|churned|left|lost|gone|quit|exited|attrited( customer)?|fraud|fraudulent|failed|"
    r"failure|default|defaulted|dropped( out)?|dropout|closed|resigned|lapsed|broken|bad|"
    r"gekuendigt|gekündigt|charged off)"
)


def label_strength(column: str, table: str) -> int:
    """How plainly the names of a column and its table say that it is a label: 0 if they don't."""
    if column in _LABELS:
        return 4
    words = {*column.split("_")}
    if words & {*_LABEL_WORDS} and not _OF_A_NUMBER.search(column):
        return 3
    return 1 if {*table.split("_")} & {*_LABEL_WORDS} else 0


def not_known(text: str) -> bool:
    """Whether an answer says that there is none."""
    return _NOT_KNOWN.fullmatch(text.strip().casefold().replace("_", " ")) is not None


def looked_for(text: str) -> bool:
    """Whether a state is called like what a label looks for; "not churned" isn't."""
    return _LOOKED_FOR.fullmatch(text.strip().casefold().replace("_", " ")) is not None
