"""Counters and histograms that are cheap enough to update for each request.

Prometheus' library takes up to 3 µs per update, because with several processes it writes each into
a file. These take a tenth of that: they collect updates, and publish them together with `flush`.
They belong to one thread.

Private parts of prometheus-client that are used here, in the version that pyproject.toml bounds:
`Histogram._buckets` and `Histogram._sum`, because the library can't observe many values at once.
"""

from __future__ import annotations

import collections
from bisect import bisect_left
from collections.abc import Sequence
from math import fsum

import prometheus_client
from prometheus_client import CollectorRegistry

Labels = tuple[str, ...]


class BufferedCounter:
    """A counter whose label values are given in the order of `labels`."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._counter = prometheus_client.Counter(name, documentation, labels, registry=registry)
        self._counts: collections.Counter[Labels] = collections.Counter()

    def add(self, labels: Labels, count: int = 1) -> None:
        """Count `count` more with these label values."""
        self._counts[labels] += count

    def flush(self) -> None:
        """Publish the counts since the last flush."""
        for labels, count in self._counts.items():
            self._counter.labels(*labels).inc(count)
        self._counts.clear()


class BufferedHistogram:
    """A histogram whose label values are given in the order of `labels`.

    `buckets` are upper bounds in ascending order; the library adds the one without a bound.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(buckets)
        self._histogram = prometheus_client.Histogram(
            name, documentation, labels, buckets=buckets, registry=registry
        )
        self._values: collections.defaultdict[Labels, list[float]] = collections.defaultdict(list)

    def observe(self, labels: Labels, value: float) -> None:
        """Add a value, to be published by the next flush."""
        self._values[labels].append(value)

    def publish(self, labels: Labels, value: float) -> None:
        """Add a value without the buffer, which other threads may do as well."""
        self._histogram.labels(*labels).observe(value)

    def flush(self) -> None:
        """Publish the values since the last flush."""
        for labels, values in self._values.items():
            child = self._histogram.labels(*labels)
            counts = collections.Counter(bisect_left(self._bounds, value) for value in values)
            for bucket, count in counts.items():
                child._buckets[bucket].inc(count)
            child._sum.inc(fsum(values))
        self._values.clear()
