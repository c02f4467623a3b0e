"""The pages of the console, each a function from a visit to a page; and their addresses."""

from __future__ import annotations

from streamflow.console.page import Route
from streamflow.console.pages import (
    acts,
    contacts,
    data,
    entities,
    forgetting,
    history,
    models,
    months,
    overview,
    sign_in,
)
from streamflow.keys.api_keys import Scope

ROUTES = (
    Route("/", "GET", Scope.READ, overview.overview),
    Route("/entities", "GET", Scope.READ, entities.ranked),
    Route("/entities/one", "GET", Scope.READ, entities.one),
    Route("/entities/answers", "GET", Scope.READ, entities.answers),
    Route("/entities/answers/replay", "GET", Scope.READ, entities.replay),
    Route("/entities/contacts", "GET", Scope.READ, contacts.contacts),
    Route("/entities/export", "POST", Scope.PREDICT, contacts.export),
    Route("/entities/forget", "POST", Scope.PROMOTE, forgetting.forget),
    Route("/acts", "GET", Scope.READ, acts.act),
    Route("/models", "GET", Scope.READ, models.models),
    Route("/models/plot", "GET", Scope.READ, models.plot),
    Route("/models/compare", "GET", Scope.READ, models.compare),
    Route("/models/promote", "POST", Scope.PROMOTE, models.promote),
    Route("/models/rollback", "POST", Scope.PROMOTE, models.rollback),
    Route("/models/approve", "POST", Scope.PROMOTE, models.approve),
    Route("/models/canary", "POST", Scope.PROMOTE, models.canary),
    Route("/data", "GET", Scope.READ, data.data),
    Route("/data/corrections", "GET", Scope.READ, data.corrections),
    Route("/data/versions", "GET", Scope.READ, data.versions),
    Route("/history", "GET", Scope.READ, history.history),
    Route("/months", "GET", Scope.READ, months.months),
    Route("/months/report", "GET", Scope.READ, months.report),
    Route("/sign-in", "GET", None, sign_in.form),
    Route("/sign-in", "POST", None, sign_in.sign_in),
    Route("/sign-out", "POST", None, sign_in.sign_out),
    Route("/theme", "POST", None, sign_in.theme),
)
# In the order of the navigation, by the names of their texts.
NAVIGATION = (
    ("overview", "/"),
    ("entities", "/entities"),
    ("models", "/models"),
    ("data", "/data"),
    ("history", "/history"),
    ("months", "/months"),
)
# A session that is over is no reason to refuse these.
WITHOUT_SESSION = ("/sign-in",)
