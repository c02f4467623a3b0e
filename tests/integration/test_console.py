"""The console over a real database: its pages, who is let in, and what is tried against it."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path

import pytest
from tests import consoles
from tests.conftest import OwnDatabase
from tests.consoles import Console, Visitor
from tests.registered import register_four
from tests.scored import record_scores
from tests.statements import execute

from churn.generator import generate
from streamflow.bootstrap import platform
from streamflow.console import pages
from streamflow.console.pages import sign_in
from streamflow.console.texts import TEXTS, text
from streamflow.keys import api_keys
from streamflow.keys.api_keys import Scope
from streamflow.pipeline.ingest import ingest
from streamflow.platform import Platform
from streamflow.postgres.database import Database
from streamflow.promotion.gates.result import GATES
from streamflow.reports.environment import said
from streamflow.scores.scorings import Scoring
from streamflow.settings import load_settings
from streamflow.use_case import Generation

SCRIPT = "<script>alert(1)</script>"
PEOPLE = 130


def score_everyone(database: Database) -> Scoring:
    """So many people, of whom one is named like a script; the first has a reason."""
    scores = {f"user-{one:03}": 1 - one / 1000 for one in range(PEOPLE)} | {SCRIPT: 0.01}
    made = record_scores(database, scores, {"gone": "departed"})
    reason = json.dumps(SCRIPT)
    execute(
        database,
        "INSERT INTO streamflow.reasons "
        "VALUES (%s, 'user-000', 1, 'net_service', %s, 0.5, null, %s)",
        (made.scoring_id, reason, f"internet service: {SCRIPT}"),
    )
    return made


@pytest.fixture(scope="module")
def team(
    prepared_database: str, own_database: OwnDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """A team that has scored everyone."""
    home = tmp_path_factory.mktemp("a home")
    with own_database(prepared_database) as url:
        settings = load_settings(home=home, database_url=url, use_case="churn")
        with platform(settings) as opened:
            score_everyone(opened.database)
            yield opened


@pytest.fixture
def console(team: Platform) -> Iterator[Console]:
    """A console of that team, which has no key yet."""
    with consoles.running(team) as running:
        yield running


def test_every_page_has_its_texts_in_one_place_and_uses_all_of_them() -> None:
    folder = Path(pages.__file__).parents[1]
    sources = [*folder.rglob("*.py"), *folder.rglob("*.html")]
    said = "\n".join(one.read_text() for one in sources if not one.name.endswith("texts.py"))
    by_prefix = (
        *("nav.", "theme.", "severity.", "verdict.", "recreated.", "road.", "figure.", "format."),
        *("act.", "replay.", "compare.", "plot."),
    )
    unused = [one for one in TEXTS if f'"{one}"' not in said and f"'{one}'" not in said]
    assert [one for one in unused if not one.startswith(by_prefix)] == []


def test_without_a_month_each_page_says_what_to_do(ready: Platform) -> None:
    with consoles.running(ready) as console:
        visitor = Visitor(console)
        _says_what_to_do(visitor)


def _says_what_to_do(visitor: Visitor) -> None:
    overview = visitor.get("/")
    assert overview.status_code == 200
    assert said(text("standing.no_month.next")) in overview.text
    assert text("entities.none") in visitor.get("/entities").text
    assert visitor.get("/entities/one?id=nobody").status_code == 404
    assert visitor.get("/nowhere").status_code == 404


def test_each_station_of_the_road_leads_to_a_place_that_is_there(console: Console) -> None:
    visitor = Visitor(console)
    overview = visitor.get("/").text
    (road,) = re.findall(r'<svg class="road wide".*?</svg>', overview, re.DOTALL)
    links = re.findall(r'href="([^"]+)"', road)
    assert len(links) == 7
    for link in links:
        path, _, place = link.partition("#")
        assert visitor.get(path).status_code == 200, link
        assert not place or f'id="{place}"' in overview, link


def test_everyone_is_listed_by_key_searched_and_looked_at(console: Console) -> None:
    visitor = Visitor(console)
    first = visitor.get("/entities", accept="application/json").json()
    assert [one["rank"] for one in first["users"]] == list(range(1, 51))
    assert first["next_after"] == 50
    last = visitor.get("/entities?after=100", accept="application/json").json()
    assert (len(last["users"]), last["next_after"]) == (PEOPLE + 1 - 100, None)
    found = visitor.get("/entities?q=SER-12&decile=10", accept="application/json").json()
    assert [one["entity_id"] for one in found["users"]] == [
        f"user-{one}" for one in range(120, 130)
    ]
    fragment = visitor.get("/entities?q=user-000", **{"hx-request": "true"})
    assert "<html" not in fragment.text
    assert "user-000" in fragment.text
    assert visitor.get("/entities?reason=net_service").text.count("/entities/one?") == 1
    shown = visitor.get("/entities/one?id=user-000")
    assert "internet service" in shown.text
    assert "0.000" not in shown.text
    assert visitor.get("/entities/answers?id=user-000").status_code == 200
    assert visitor.get("/entities/one?id=gone").text.count("departed") == 1


def test_the_list_by_a_segment_has_those_whose_file_says_so(
    ready: Platform, tmp_path: Path
) -> None:
    january, learned = date(2024, 1, 31), datetime(2024, 2, 1, tzinfo=UTC)
    generate(Generation(tmp_path, users=80, months=1, seed=7))
    ingest(ready, tmp_path / "month_000", january, learned, learned, "test")
    with (tmp_path / "month_000" / "subscriptions.csv").open(encoding="utf-8") as file:
        contracts = {row["user_id"]: row["contract_type"] for row in csv.DictReader(file)}
    record_scores(ready.database, {one: 1 / (2 + n) for n, one in enumerate(sorted(contracts))})
    number = 1 + ready.use_case.gates.segments.index("subscriptions.contract_type")
    with consoles.running(ready) as console:
        visitor = Visitor(console)
        page = visitor.get("/entities").text
        for contract in sorted({*contracts.values()}):
            assert f">{contract}</option>" in page
            found = visitor.client.get(
                "/entities",
                params={f"segment_{number}": contract},
                headers={"accept": "application/json"},
            ).json()
            expected = {one for one in contracts if contracts[one] == contract}
            assert {one["entity_id"] for one in found["users"]} <= expected
            assert len(found["users"]) == min(50, len(expected))
        nobody = visitor.get(f"/entities?segment_{number}=none", accept="application/json").json()
        assert nobody["users"] == []


@pytest.mark.parametrize(
    "path",
    [
        *("/entities", f"/entities?q={SCRIPT}", "/entities?reason=net_service"),
        *(
            "/entities/one?id=user-000",
            f"/entities/one?id={SCRIPT}",
            f"/entities/answers?id={SCRIPT}",
        ),
        *(f"/sign-in?back={SCRIPT}", f"/{SCRIPT}"),
    ],
)
def test_a_script_in_an_id_a_value_or_an_address_is_text(console: Console, path: str) -> None:
    answer = Visitor(console).get(path)
    assert answer.status_code in (200, 404)
    assert "<script>alert" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"


def test_a_script_in_the_name_of_a_file_is_text(console: Console, team: Platform) -> None:
    reports = team.settings.home / "reports"
    reports.mkdir(exist_ok=True)
    name = "violations-2024-01-31-20240201T101112345678.csv"
    (reports / name).write_text(
        f'file,line,column,value,rule\n"{SCRIPT}.csv",3,"{SCRIPT}","{SCRIPT}","{SCRIPT}"\n'
    )
    (reports / f"violations-{SCRIPT.replace('/', '')}.csv").write_text("no list")
    visitor = Visitor(console)
    page = visitor.get(f"/data?violations={name}")
    assert page.status_code == 200
    assert f"{SCRIPT}.csv" in unescape(page.text)
    assert "<script>alert" not in page.text
    assert "<script>alert" not in visitor.get(f"/data?violations={SCRIPT}").text


@pytest.mark.parametrize(
    "search", ["'; DROP TABLE streamflow.scores; --", "%", "\\", "' OR 1=1 --"]
)
def test_sql_in_the_search_is_text(console: Console, search: str) -> None:
    visitor = Visitor(console)
    found = visitor.client.get(
        "/entities", params={"q": search}, headers={"accept": "application/json"}
    )
    assert found.json()["users"] == []
    assert len(visitor.get("/entities", accept="application/json").json()["users"]) == 50


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "decile=11", "decile=²", "band=none", "q=%00", f"q={'x' * 65}"]
)
def test_what_a_query_cannot_mean_is_refused(console: Console, query: str) -> None:
    assert Visitor(console).get(f"/entities?{query}").status_code == 400


def test_a_key_signs_in_and_its_session_ends_when_it_is_signed_out(console: Console) -> None:
    secret, key = console.key(Scope.READ)
    visitor = Visitor(console)
    assert visitor.get("/").status_code == 401
    assert console.refused() == [("key_missing", "console /", None)]
    answer = visitor.sign_in(secret)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    overview = visitor.get("/")
    assert overview.status_code == 200
    assert f"key {key.key_id} (ann)" in overview.text
    session = visitor.client.cookies["streamflow_console"]
    stored = str(console.parts.reading.rows("console_session", session_hash=b"\0" * 32))
    assert session not in stored
    assert visitor.send("/sign-out", visitor.token("/")).status_code == 303
    visitor.client.cookies.set("streamflow_console", session)  # replayed
    assert visitor.get("/").status_code == 401
    assert console.refused() == [("session_over", "console /", key.key_id)]


def test_a_session_ends_after_twelve_hours(console: Console) -> None:
    secret, key = console.key(Scope.READ)
    visitor = Visitor(console)
    visitor.sign_in(secret)
    console.clock.later(hours=11.9)
    assert visitor.get("/").status_code == 200
    console.clock.later(hours=0.2)
    assert visitor.get("/").status_code == 401
    assert console.refused() == [("session_over", "console /", key.key_id)]


def test_a_key_that_is_revoked_ends_its_session_at_once(console: Console) -> None:
    secret, key = console.key(Scope.READ)
    visitor = Visitor(console)
    visitor.sign_in(secret)
    api_keys.revoke(console.parts.platform.database, key.key_id, "a test", console.clock())
    assert visitor.get("/").status_code == 401
    assert visitor.sign_in(secret).status_code == 401
    assert [code for code, _, _ in console.refused()] == ["key_revoked", "key_revoked"]


@pytest.mark.parametrize("cookie", ["", "forged", "A" * 43, "A" * 5000, "<script>"])
def test_a_forged_cookie_is_refused(console: Console, cookie: str) -> None:
    console.key(Scope.READ)
    answer = Visitor(console).get("/", cookie=f"streamflow_console={cookie}")
    assert answer.status_code == 401
    assert console.refused()[0][0] in ("session_unknown", "key_missing")


def test_a_wrong_key_and_a_key_without_the_scope_are_refused(console: Console) -> None:
    console.key(Scope.READ)
    visitor = Visitor(console)
    assert visitor.sign_in(api_keys.new_key()).status_code == 401
    assert visitor.sign_in("").status_code == 401
    assert {code for code, _, _ in console.refused()} == {"key_unknown", "key_missing"}
    secret, key = console.key(Scope.PREDICT)
    assert visitor.sign_in(secret).status_code == 303
    assert visitor.get("/").status_code == 403
    assert console.refused() == [("scope_missing", "console /", key.key_id)]


@pytest.mark.parametrize("path", [one.path for one in pages.ROUTES if one.method == "POST"])
def test_no_form_without_its_token_does_anything(console: Console, path: str) -> None:
    secret, _ = console.key(*Scope)
    visitor, other = Visitor(console), Visitor(console)
    assert visitor.sign_in(secret).status_code == 303
    assert other.sign_in(secret).status_code == 303
    foreign = other.token("/")
    for token in ("", "0" * 64, foreign, "é"):
        assert visitor.send(path, token, key=secret, why="x", version="1").status_code == 403
    assert {code for code, _, _ in console.refused()} == {"form_refused"}
    assert visitor.get("/").status_code == 200  # it is signed in as before


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_another_host_is_not_answered(console: Console, host: str) -> None:
    answer = Visitor(console).get("/", host=host)
    assert answer.status_code == 421
    assert console.refused() == [("foreign_host", "console", None)]


def test_names_of_the_console_are_answered(console: Console) -> None:
    named = consoles.at(console, host_names=frozenset({"console.example"}))
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "console.example:8080"):
        assert Visitor(named).get("/", host=host).status_code == 200
    assert Visitor(named).get("/", host="10.0.0.1").status_code == 421
    assert Visitor(consoles.at(named, host="0.0.0.0")).get("/", host="10.0.0.1").status_code == 200


def test_a_form_of_a_hundred_megabytes_is_not_read(console: Console) -> None:
    visitor = Visitor(console)

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 2**20

    assert visitor.client.post("/theme", content=b"x" * (2**16 + 1)).status_code == 413
    assert visitor.client.post("/theme", content=body()).status_code == 413
    assert {code for code, _, _ in console.refused()} == {"form_too_large"}


@pytest.mark.parametrize(
    "back",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\n/x"],
)
def test_nobody_is_led_elsewhere(back: str) -> None:
    assert sign_in.local(back) == "/"
    assert sign_in.local("/entities?q=a") == "/entities?q=a"


def test_the_colours_are_chosen_without_javascript(console: Console) -> None:
    visitor = Visitor(console)
    assert "data-theme" not in visitor.get("/").text
    assert visitor.send("/theme", theme="dark", back="/entities").headers["location"] == "/entities"
    assert '<html lang="en" data-theme="dark">' in visitor.get("/").text
    visitor.send("/theme", theme="")
    assert "data-theme" not in visitor.get("/").text


def test_static_files_are_only_those_of_the_console(console: Console) -> None:
    visitor = Visitor(console)
    for name in ("console.css", "htmx.min.js", "htmx.LICENSE.txt", "icon.svg"):
        assert visitor.get(f"/static/{name}").status_code == 200
    for name in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "nothing.css"):
        assert visitor.get(f"/static/{name}").status_code == 404


def test_nobody_acts_without_a_session_and_its_scope(console: Console) -> None:
    acts = [one.path for one in pages.ROUTES if one.scope is Scope.PROMOTE]
    assert len(acts) >= 4
    visitor = Visitor(console)
    for path in acts:  # though everybody may read
        assert visitor.get("/models").status_code == 200
        assert visitor.send(path, version="1", why="x", to="staging").status_code == 401
    assert {code for code, _, _ in console.refused()} == {"key_missing"}
    secret, key = console.key(Scope.READ, Scope.PREDICT)
    visitor.sign_in(secret)
    for path in acts:
        token = visitor.token("/models")
        assert visitor.send(path, token, version="1", why="x").status_code == 403
    assert set(console.refused()) == {
        ("scope_missing", f"console {path}", key.key_id) for path in acts
    }
    bearer = {"authorization": f"Bearer {secret}"}
    assert Visitor(console).get("/models", **bearer).status_code == 200
    assert Visitor(console).get("/models", authorization="Bearer no").status_code == 401


def test_acts_are_in_the_history_under_the_name_of_the_key(
    console: Console, team: Platform
) -> None:
    versions = [number for number, _ in register_four(team)]
    secret, key = console.key(Scope.READ, Scope.PROMOTE)
    visitor = Visitor(console)
    visitor.sign_in(secret)
    page = visitor.get("/models")
    assert page.status_code == 200
    token = visitor.token("/models")
    why = f"looked at it {SCRIPT}"
    for refused in (
        {"version": "4"},  # no reason
        {"version": "", "why": why},
        {"version": "four", "why": why},
        {"version": "4", "why": "a\x00b"},
        {"version": "4", "why": "x" * 2001},
    ):
        assert visitor.send("/models/approve", token, **refused).status_code == 400
    assert visitor.send("/models/promote", token, version="4", why=why, to="x").status_code == 400
    assert visitor.send("/models/approve", token, version="99", why=why).status_code == 409
    answer = visitor.send("/models/approve", token, version=str(versions[-1]), why=why)
    assert (answer.status_code, answer.headers["location"]) == (303, "/history")
    begun = visitor.send("/models/promote", token, version="4", why=why, to="production")
    assert begun.status_code == 303
    stopped = visitor.ended(begun.headers["location"])
    assert stopped["failed"]["status"] == 409
    assert [one["gate"] for one in stopped["gates"]] == list(GATES)
    page = visitor.get(begun.headers["location"])
    assert "may not go to Production" in page.text
    assert "every 1s" not in page.text
    begun = visitor.send("/models/promote", token, version="1", why=why, to="archived")
    assert visitor.ended(begun.headers["location"])["result"]["to_stage"] == "Archived"
    history = visitor.get("/history")
    assert SCRIPT not in history.text
    assert why in unescape(history.text)
    recorded = visitor.get("/history", accept="application/json").json()
    assert recorded["whole"]
    who = f"key {key.key_id} (ann)"
    ours = [one["kind"] for one in recorded["changes"] if one["who"] == who]
    assert ours == ["approved", "refused", "promoted"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"contacts": ""},
        {"contacts": "0"},
        {"contacts": "-1"},
        {"hold_out": "100"},
        {"format": "../../etc/passwd"},
        {"format": "exe"},
        {"campaign": "a\u202eb"},
        {"campaign": "x" * 65},
    ],
)
def test_a_list_is_exported_only_as_it_can_be(console: Console, wrong: dict[str, str]) -> None:
    secret, key = console.key(Scope.READ, Scope.PREDICT)
    visitor = Visitor(console)
    form = {"contacts": "5", "hold_out": "10", "format": "csv", "campaign": "", **wrong}
    assert visitor.send("/entities/export", **form).status_code == 401
    visitor.sign_in(secret)
    assert visitor.send("/entities/export", visitor.token("/"), **form).status_code == 400
    assert console.refused() == [("key_missing", "console /entities/export", None)]
    assert key.name == "ann"


def test_nobody_is_forgotten_by_mistake(console: Console) -> None:
    secret, _ = console.key(Scope.READ, Scope.PROMOTE)
    visitor = Visitor(console)
    visitor.sign_in(secret)
    token = visitor.token("/")
    for form in (
        {"entity": "user-001", "again": "user-002", "why": "asked"},
        {"entity": "user-001", "again": "", "why": "asked"},
        {"entity": "user-001", "again": "user-001", "why": " "},
        {"entity": "", "again": "", "why": "asked"},
    ):
        assert visitor.send("/entities/forget", token, **form).status_code == 400
    form = {"entity": "nobody", "again": "nobody", "why": "asked"}
    begun = visitor.send("/entities/forget", token, **form)
    ended = visitor.ended(begun.headers["location"])
    assert ended["failed"]["code"] == "unknown_person"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *(("/data", 200), ("/data?violations=../../etc/passwd", 200), ("/acts?id=x", 404)),
        *(("/data/corrections?table=users&as_of=2024-01-31", 404), ("/data/versions", 404)),
        *(("/models/plot?version=1&name=../../x", 404), ("/models/plot?version=x", 400)),
        *(("/models/compare?first=1&second=1", 400), ("/models/compare?first=x", 400)),
        *(("/entities?segment_1=' OR true --", 200), ("/entities/answers/replay?request=x", 400)),
        *(("/entities/contacts?contacts=x", 400), ("/entities/contacts?contacts=-1", 400)),
    ],
)
def test_what_a_page_is_asked_for_is_checked(console: Console, path: str, status: int) -> None:
    answer = Visitor(console).get(path)
    assert answer.status_code == status
    assert "root:" not in answer.text


def test_months_and_their_reports(console: Console) -> None:
    visitor = Visitor(console)
    assert text("months.none") in visitor.get("/months").text
    for path, status in (("2024-01-31", 404), ("../../etc/passwd", 400), ("x", 400), ("", 400)):
        assert visitor.get(f"/months/report?as_of={path}").status_code == status


def test_the_guide_is_served_where_it_is_built_and_runs_only_its_own_scripts(
    console: Console, tmp_path: Path
) -> None:
    assert "/docs/guide" not in Visitor(console).get("/").text
    assert Visitor(console).get("/docs/guide/").status_code == 404
    page = '<p>a page</p><script src="a.js"></script><script>one()</script>'
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "a.js").write_text("two()")
    visitor = Visitor(consoles.at(console, guide=tmp_path))
    assert '<a href="/docs/guide/">' in visitor.get("/").text
    shown = visitor.get("/docs/guide/")
    assert (shown.status_code, shown.text) == (200, page)
    allowed = shown.headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(b"one()").digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in allowed
    assert "frame-ancestors 'none'" in allowed
    assert (
        "script-src 'self';" in visitor.get("/docs/guide/a.js").headers["content-security-policy"]
    )
    for path in ("../a.js", "%2e%2e/%2e%2e/etc/passwd", "nothing.html"):
        assert visitor.get(f"/docs/guide/{path}").status_code == 404
