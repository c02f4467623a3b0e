"""The version in Staging: shadow scores in the background, and a canary's answers."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import (
    FEATURES,
    VISITS,
    FakeOnlineFeatures,
    FakeRegistry,
    eventually,
    model,
    schema,
    serving,
    stocked,
)

from streamflow.errors import MlflowUnavailable, UnservableModel
from streamflow.promotion.changed_sides import feature_differences
from streamflow.registry.records import ModelVersion
from streamflow.serving.challenger.canary import CanaryState, percentile
from streamflow.serving.challenger.canary_bounds import CanaryBounds, CanaryCounts, beyond
from streamflow.serving.challenger.scored_rows import Comparison, parted, spans
from streamflow.serving.challenger.staging import StagingSources
from streamflow.serving.scoring import ScoringRequest
from streamflow.training.served_model import ServedModel

BOUNDS = CanaryBounds(errors=0.05, disagreement=0.2)
EVERYBODY = CanaryState(1, 2, 100.0)


class Staged(FakeRegistry):
    """With a version in Staging beside the one in Production."""

    def __init__(self) -> None:
        super().__init__()
        self.promote(1, model(0.1))
        self.in_staging: ModelVersion | None = None

    def stage(self, version, served) -> None:
        self.models[f"hash-{version}"] = served
        self.in_staging = ModelVersion(
            "example_model", version, f"run-{version}", "Staging", (), {}, f"hash-{version}"
        )

    def staging(self):
        if self.down:
            raise MlflowUnavailable("MLflow doesn't answer.", "Run `streamflow up`.")
        return self.in_staging


class Canaries:
    def __init__(self) -> None:
        self.state = None
        self.ended = []

    def current(self):
        return self.state

    def end(self, ended) -> None:
        self.ended.append(ended)
        self.state = None


class Pairs:
    """What was written."""

    def __init__(self) -> None:
        self.rows = 0

    def prepare(self) -> None:
        pass

    def write(self, batches) -> None:
        self.rows += sum(one.number for one in batches)

    def close(self) -> None:
        pass


class Beside:
    """The API over fakes with a version in Staging."""

    def __init__(self, online=None, served=None, **given) -> None:
        self.registry, self.canaries, self.pairs = Staged(), Canaries(), Pairs()
        if served is not None:
            self.registry.stage(2, served)
        self.online = online or stocked()
        sources = StagingSources(self.registry, self.online, self.pairs, self.canaries, BOUNDS)
        self.serving = serving(self.registry, stocked(), staging=sources, **given)

    def __enter__(self):
        self.service = self.serving.__enter__()
        return self

    def __exit__(self, *error):
        self.serving.__exit__(*error)

    def told(self):
        return self.service.client.get("/ready").json().get("challenger")

    def loaded(self):
        eventually(lambda: (self.told() or {}).get("run_id") == "run-2")

    def canary(self, share=100.0, number=1):
        self.canaries.state = CanaryState(number, 2, share)
        eventually(lambda: self.told()["canary_percent"] == share)

    def metric(self, name, **labels):
        labelled = ",".join(f'{key}="{value}"' for key, value in labels.items())
        wanted = f"streamflow_{name}{{{labelled}}} " if labels else f"streamflow_{name} "
        lines = [one for one in self.service.metrics().splitlines() if one.startswith(wanted)]
        return float(lines[0].rsplit(" ", 1)[1]) if lines else 0.0


def broken(error=None, probability=float("nan")):
    """A model whose every score fails once it has been warmed up."""
    calls = []

    def score(matrix):
        calls.append(len(matrix))
        if len(calls) == 1:
            return np.zeros(len(matrix), np.int64), np.full(len(matrix), 0.5)
        if error is not None:
            raise error
        return np.zeros(len(matrix), np.int64), np.full(len(matrix), probability)

    return ServedModel(schema(), score)


def test_what_was_answered_is_scored_too_and_the_answers_stay_those_of_production() -> None:
    with Beside(served=model(0.9)) as beside:
        beside.loaded()
        answers = [beside.service.predict().json() for _ in range(5)]
        assert {one["model"]["version"] for one in answers} == {1}
        assert {one["probability"] for one in answers} == {0.1}
        eventually(lambda: beside.told()["scored"] == 5)
        assert beside.metric("shadow_rows_total", outcome="other label") == 5
        assert beside.metric("challenger_version") == 2
    assert beside.pairs.rows == 5


def test_without_a_version_in_staging_nothing_is_scored() -> None:
    with Beside() as beside:
        assert beside.service.predict().status_code == 200
        assert beside.told() is None
        assert beside.metric("challenger_version") == 0
    assert beside.pairs.rows == 0


def test_features_are_read_again_only_for_a_model_of_other_features() -> None:
    for features, reads_more in ((FEATURES, False), ((VISITS,), True)):
        online = stocked()
        with Beside(online, model(0.9, *features)) as beside:
            beside.loaded()
            online.read_ids = []
            online.read = counting(online, online.read_ids)
            beside.service.predict()
            eventually(lambda beside=beside: beside.told()["scored"] == 1)
            assert (online.read_ids == ["ann"]) == reads_more
            assert beside.metric("shadow_rows_total", outcome="other label") == 1


def counting(online, ids):
    read = FakeOnlineFeatures.read

    def counted(plan, entity_ids):
        ids.extend(entity_ids)
        return read(online, plan, entity_ids)

    return counted


def test_a_share_is_scored() -> None:
    with Beside(served=model(0.9), mirror=20) as beside:
        beside.loaded()
        for _ in range(10):
            ids = {"user_ids": ["ann"] * 100}
            assert beside.service.client.post("/predict/batch", json=ids).status_code == 200
        eventually(lambda: beside.told()["scored"] > 100)
    assert 100 < beside.pairs.rows < 350


@pytest.mark.parametrize(
    "fault", [UnservableModel("It can't be served.", "Train."), OSError("no file"), ValueError()]
)
def test_a_version_that_cannot_be_served_is_told_and_disturbs_nothing(fault) -> None:
    with Beside(served=fault) as beside:
        eventually(lambda: beside.told() is not None)
        told = beside.told()
        assert told["version"] == 2
        assert told["code"] == "model_refused" or told["detail"]
        eventually(lambda: beside.metric("challenger_refused") == 1)
        assert beside.service.client.get("/ready").status_code == 200
        assert beside.service.version() == 1
        beside.registry.in_staging = None
        eventually(lambda: beside.metric("challenger_refused") == 0)


def test_it_goes_when_it_leaves_staging_and_stays_while_the_registry_is_down() -> None:
    with Beside(served=model(0.9)) as beside:
        beside.loaded()
        beside.registry.down = True
        eventually(lambda: "registry" in beside.service.client.get("/ready").json()["model"])
        assert beside.told()["version"] == 2
        beside.registry.down, beside.registry.in_staging = False, None
        eventually(lambda: beside.told() is None)
        assert beside.metric("challenger_version") == 0


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    blocked = threading.Event()
    calls = []

    def score(matrix):
        calls.append(1)
        if len(calls) > 1:
            blocked.wait(10)
        return np.zeros(len(matrix), np.int64), np.full(len(matrix), 0.2)

    with Beside(served=ServedModel(schema(), score)) as beside:
        beside.loaded()
        ids = {"user_ids": ["ann"] * 1000}
        for _ in range(13):
            assert beside.service.client.post("/predict/batch", json=ids).status_code == 200
        eventually(lambda: beside.told()["dropped"] >= 1000)
        blocked.set()
        eventually(lambda: beside.told()["scored"] + beside.told()["dropped"] == 13_000)
        assert beside.metric("shadow_rows_total", outcome="dropped") == beside.told()["dropped"]


def test_a_canary_answers_and_names_itself() -> None:
    with Beside(served=model(0.15)) as beside:
        beside.loaded()
        beside.canary()
        answer = beside.service.predict().json()
        assert (answer["model"]["version"], answer["model"]["stage"]) == (2, "Staging")
        assert answer["probability"] == 0.15
        assert beside.metric("canary_answers_total", answered_by="challenger") == 1
        beside.canaries.state = None
        eventually(lambda: beside.told()["canary_percent"] == 0)
        assert beside.service.version() == 1
    assert beside.pairs.rows == 2


def test_a_batch_is_divided_by_its_ids() -> None:
    online = stocked()
    names = [f"user-{number}" for number in range(40)]
    for name in names:
        for view in ("activity_view", "billing_view"):
            event_timestamp, values = online.rows[view]["ann"]
            online.put(view, name, event_timestamp, **values)
    beside = Beside(served=model(0.15))
    beside.serving = serving(
        beside.registry,
        online,
        staging=StagingSources(beside.registry, online, beside.pairs, beside.canaries, BOUNDS),
    )
    with beside:
        beside.loaded()
        beside.canary(30.0)
        asked = [*names, "nobody"]
        answer = beside.service.client.post("/predict/batch", json={"user_ids": asked}).json()
        theirs = {name for name in names if percentile("example_model", name) < 30}
        assert 0 < len(theirs) < 40
        assert answer["model"]["version"] == 1
        for name, row in zip(asked, answer["predictions"], strict=True):
            assert row["user_id"] == name
            if name == "nobody":
                assert row["problem"]["code"] == "unknown_entity"
            else:
                assert row["probability"] == (0.15 if name in theirs else 0.1)
                assert row.get("model", {"version": 1})["version"] == (2 if name in theirs else 1)
            alone = beside.service.predict(name)
            if name in theirs:
                assert alone.json()["model"]["version"] == 2


@pytest.mark.parametrize(
    "served",
    [
        lambda: broken(),
        lambda: broken(RuntimeError("no score")),
        lambda: broken(probability=1.5),
        lambda: model(0.1, *FEATURES[:-1], replace(VISITS, name="clicks")),
    ],
    ids=["nan", "error", "beyond 1", "a feature that nobody has"],
)
def test_a_broken_challenger_is_out_soon_and_no_client_sees_it(served) -> None:
    with Beside(served=served()) as beside:
        beside.loaded()
        beside.canary()
        for _ in range(10):
            answer = beside.service.predict()
            assert answer.status_code == 200
            assert answer.json()["model"]["version"] == 1
        eventually(lambda: len(beside.canaries.ended) == 1)
        eventually(lambda: beside.told()["canary_percent"] == 0)
        (ended,) = beside.canaries.ended
        assert ended.canary == EVERYBODY
        assert "have no prediction" in ended.why
        assert beside.told()["canary_ended"] == ended.why
        assert beside.metric("canary_answers_total", answered_by="challenger") == 0


def test_a_challenger_that_disagrees_too_much_is_out() -> None:
    with Beside(served=model(0.9)) as beside:
        beside.loaded()
        beside.canary()
        for _ in range(20):
            assert beside.service.predict().status_code == 200
        eventually(lambda: len(beside.canaries.ended) == 1)
        assert "have another label" in beside.canaries.ended[0].why
        assert beside.service.version() == 1
        beside.canary(100.0, number=2)  # started anew, by hand
        assert beside.service.version() == 2


def test_a_challenger_that_does_not_come_back_keeps_nobody_waiting() -> None:
    stuck = threading.Event()
    calls = []

    def score(matrix):
        calls.append(1)
        if len(calls) > 1:
            stuck.wait(30)
        return np.zeros(len(matrix), np.int64), np.full(len(matrix), 0.2)

    with Beside(served=ServedModel(schema(), score), latency_budget_ms=50) as beside:
        beside.loaded()
        beside.canary()
        for _ in range(8):
            answer = beside.service.predict()
            assert (answer.status_code, answer.json()["model"]["version"]) == (200, 1)
        eventually(lambda: len(beside.canaries.ended) == 1)
        stuck.set()


def test_the_store_is_not_the_challengers_fault() -> None:
    online = stocked()
    with Beside(online, model(0.9, VISITS)) as beside:
        beside.loaded()
        beside.canary()
        online.down()
        for _ in range(30):
            assert beside.service.version() == 1
        assert beside.canaries.ended == []
        assert beside.told()["canary_percent"] == 100


@given(st.text(max_size=30), st.text(max_size=30))
def test_an_entity_keeps_its_place(name, entity_id) -> None:
    place = percentile(name, entity_id)
    assert 0 <= place < 100
    assert percentile(name, entity_id) == place


def test_the_place_of_an_entity_never_changes_and_shares_are_kept() -> None:
    assert percentile("churn", "u-1") == PLACE
    places = [percentile("churn", f"u-{number}") for number in range(20_000)]
    for share in (1, 5, 20, 50):
        found = sum(place < share for place in places) / len(places)
        assert abs(found - share / 100) < 0.01
    others = [percentile("fraud", f"u-{number}") for number in range(20_000)]
    both = sum(a < 20 and b < 20 for a, b in zip(places, others, strict=True)) / len(places)
    assert abs(both - 0.04) < 0.01  # another model has other entities


PLACE = 26.51


@given(
    st.lists(st.integers(1, 5), max_size=8).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes), st.sets(st.integers(0, max(sum(sizes) - 1, 0)), max_size=sum(sizes))
        )
    )
)
def test_a_batch_is_parted_by_where_the_canary_is(sizes_and_positions) -> None:
    sizes, positions = sizes_and_positions
    batch = [ScoredRowsOf([ScoringRequest("e", "r")] * size) for size in sizes]
    those, others = parted(spans(batch), sorted(positions))
    assert sorted([*those, *others], key=lambda one: one[1]) == list(spans(batch))
    assert all(positions & set(range(start, end)) for _, start, end in those)
    assert not any(positions & set(range(start, end)) for _, start, end in others)


class ScoredRowsOf:
    def __init__(self, requests) -> None:
        self.requests = requests


def test_a_bound_is_exceeded_by_more_than_chance() -> None:
    assert not beyond(0, 0, 0.0)
    assert beyond(1, 1, 0.0)
    assert not beyond(1, 1, 0.05)
    assert beyond(6, 6, 0.05)
    assert not beyond(50, 1_000, 0.05)
    assert not beyond(60, 1_000, 0.05)
    assert beyond(120, 1_000, 0.05)
    assert not beyond(10, 10, 1.0)


def test_equal_models_at_the_bound_are_hardly_ever_ended() -> None:
    random = np.random.default_rng(7)
    ended = 0
    for _ in range(200):
        found = np.cumsum(random.random(2_000) < BOUNDS.errors)
        ended += any(beyond(int(n), i + 1, BOUNDS.errors) for i, n in enumerate(found))
    assert ended == 0


def test_a_late_rise_is_seen_within_some_seconds() -> None:
    counts = CanaryCounts(0.0)
    for second in range(600):
        counts.add(Comparison(1_000, 0, 1_000, 10), float(second))
        assert counts.exceeded(BOUNDS) is None
    after = 0
    while counts.exceeded(BOUNDS) is None:
        after += 1
        counts.add(Comparison(1_000, 1_000, 0, 0), 600.0 + after)
    assert after <= 5


def test_rows_without_an_answer_count_for_nothing() -> None:
    assert Comparison.of(["unknown_entity"], ["unknown_entity"]) == Comparison(1, 0, 0, 0)


def test_features_that_differ_most_between_those_who_change_side_are_named() -> None:
    changed = [{"age": 80.0 + n, "plan": "basic", "open": True, "same": 1} for n in range(20)]
    others = [{"age": 20.0 + n, "plan": "basic", "open": n < 5, "same": 1} for n in range(60)]
    found = feature_differences(changed, others)
    assert [one.feature for one in found] == ["open", "age"]
    assert found[1].in_words == "age: mean 89.5, and 49.5 of the others"
    assert found[0].in_words in (
        "open is true: 100.0%, and 8.3% of the others",
        "open is false: 0.0%, and 91.7% of the others",
    )
    assert feature_differences(changed, []) == []


@given(
    st.lists(st.sampled_from([None, 1, 2.5, True, "a"]), min_size=1, max_size=6),
    st.lists(st.sampled_from([None, 1, 2.5, True, "a"]), min_size=1, max_size=6),
)
def test_values_of_any_kind_can_be_compared(one, other) -> None:
    for found in feature_differences([{"x": v} for v in one], [{"x": v} for v in other]):
        assert found.difference >= 0
        assert found.in_words
