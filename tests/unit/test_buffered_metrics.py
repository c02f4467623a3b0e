from __future__ import annotations

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from streamflow.api.telemetry import buffered_metrics

BUCKETS = (0.25, 0.5, 1.0)
VALUES = [0.0, 0.25, 0.2500001, 0.5, 0.75, 1.0, 1.5, 100.0, 0.3, 0.3]


def samples(registry):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@pytest.fixture
def registry():
    return CollectorRegistry()


def test_values_handed_on_together_are_those_observed_one_by_one(registry):
    together = buffered_metrics.BufferedHistogram("h_seconds", "H.", ["stage"], BUCKETS, registry)
    for value in VALUES:
        together.observe(("one",), value)
    together.observe(("other",), 0.5)
    together.flush()

    one_by_one = CollectorRegistry()
    plain = prometheus_client.Histogram(
        "h_seconds", "H.", ["stage"], buckets=BUCKETS, registry=one_by_one
    )
    for value in VALUES:
        plain.labels("one").observe(value)
    plain.labels("other").observe(0.5)
    expected = samples(one_by_one)
    assert samples(registry) == pytest.approx(expected)
    assert len(expected) == 2 * (len(BUCKETS) + 3)


def test_what_was_handed_on_is_not_handed_on_again(registry):
    counter = buffered_metrics.BufferedCounter("c", "C.", ["code"], registry)
    histogram = buffered_metrics.BufferedHistogram("h_seconds", "H.", ["stage"], BUCKETS, registry)
    for _ in range(3):
        counter.add(("a",), 2)
        histogram.observe(("one",), 0.5)
        counter.flush()
        histogram.flush()
    counter.flush()
    histogram.flush()
    assert registry.get_sample_value("c_total", {"code": "a"}) == 6
    assert registry.get_sample_value("h_seconds_count", {"stage": "one"}) == 3


def test_nothing_is_told_before_it_is_handed_on_but_what_is_observed_now(registry):
    histogram = buffered_metrics.BufferedHistogram("h_seconds", "H.", ["stage"], BUCKETS, registry)
    histogram.observe(("one",), 0.5)
    histogram.publish(("log",), 0.5)
    assert registry.get_sample_value("h_seconds_count", {"stage": "one"}) is None
    assert registry.get_sample_value("h_seconds_count", {"stage": "log"}) == 1
