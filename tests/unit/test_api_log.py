from __future__ import annotations

import pytest
from tests.binary_copy import read_back
from tests.fakes import FEBRUARY, FakeRegistry, assert_problem, eventually, model, serving

from streamflow.serving.prediction_log_rows import LoggedModel


class FakeWriter:
    """Keeps receipts as the API puts them; `failure` is raised instead."""

    def __init__(self):
        self.rows = []
        self.failure = None
        self.closed = False

    def prepare(self):
        pass

    def write(self, batches):
        if self.failure is not None:
            raise self.failure
        for batch in batches:
            self.rows += read_back(batch.content, LoggedModel.from_served(batch.served))

    def close(self):
        self.closed = True


@pytest.fixture
def registry():
    made = FakeRegistry()
    made.promote(1, model(0.75))
    return made


def test_what_is_answered_is_kept_under_its_request_id(registry):
    writer = FakeWriter()
    with serving(registry, log_writer=writer) as service:
        answer = service.predict().json()
    (receipt,) = writer.rows
    assert (receipt.model.version, receipt.predicted_at) == (1, FEBRUARY)
    assert (receipt.entity_id, receipt.request_id) == ("ann", answer["request_id"])
    assert (receipt.prediction, receipt.probability) == (answer["prediction"], 0.75)
    assert receipt.values == answer["features_used"]
    assert writer.closed


def test_problems_of_an_id_are_kept_beside_the_predictions_of_others(registry):
    writer = FakeWriter()
    with serving(registry, log_writer=writer) as service:
        assert_problem(service.predict("nobody", **{"x-request-id": "one"}), 404, "unknown_entity")
        ids = {"user_ids": ["bob", "ann", "eve"]}
        service.client.post("/predict/batch", json=ids, headers={"x-request-id": "many"})
    assert [(one.request_id, one.entity_id, one.problem) for one in writer.rows] == [
        ("one", "nobody", "unknown_entity"),
        ("many", "bob", "missing_features"),
        ("many", "ann", None),
        ("many", "eve", "unseen_category"),
    ]
    assert writer.rows[2].probability == 0.75


def test_every_row_of_a_large_batch_is_kept(registry):
    writer = FakeWriter()
    ids = ["ann"] * 200 + ["nobody"]
    with serving(registry, log_writer=writer) as service:
        answer = service.client.post("/predict/batch", json={"user_ids": ids}).json()
    assert [one.entity_id for one in writer.rows] == ids
    assert {one.request_id for one in writer.rows} == {answer["request_id"]}
    assert writer.rows[-1].problem == "unknown_entity"


def test_what_says_nothing_of_anybody_isnt_kept(registry):
    writer = FakeWriter()
    with serving(registry, log_writer=writer) as service:
        assert_problem(service.client.post("/predict", json={}), 422, "invalid_request")
        service.client.get("/features/ann")
        service.online.down()
        assert_problem(service.predict(), 503, "feature_store_unavailable")
        service.registry.archive()
        eventually(lambda: service.predict().json()["code"] == "no_production_model")
    assert writer.rows == []


def test_a_log_that_cant_be_written_fails_no_prediction(registry):
    writer = FakeWriter()
    writer.failure = ConnectionError("away")
    with serving(registry, log_writer=writer) as service:
        for _ in range(5):
            assert service.predict().status_code == 200
        eventually(lambda: "streamflow_prediction_log_waiting_rows 5.0" in service.metrics())
        writer.failure = None
    assert len(writer.rows) == 5


def test_metrics_tell_what_was_written_and_what_was_dropped(registry):
    writer = FakeWriter()
    writer.failure = ValueError("no such row")
    with serving(registry, log_writer=writer) as service:
        service.predict()
        eventually(lambda: "streamflow_prediction_log_dropped_rows_total 1.0" in service.metrics())
        writer.failure = None
        service.predict()
        eventually(lambda: "streamflow_prediction_log_written_rows_total 1.0" in service.metrics())
        assert "streamflow_prediction_log_waiting_rows 0.0" in service.metrics()


def test_without_a_log_there_are_predictions(registry):
    with serving(registry) as service:
        assert service.predict().status_code == 200
