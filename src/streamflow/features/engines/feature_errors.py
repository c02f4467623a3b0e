"""Errors of Feast, of its drivers and of the engines, raised as one of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamflow.errors import FeatureStoreUnavailable, StreamFlowError
from streamflow.use_case.findings import one_line


def _status_or_apply(_: str) -> str:
    return "See `streamflow status`; run `streamflow apply` if it never was."


@contextmanager
def unavailable(what: str, next_step: Callable[[str], str] = _status_or_apply) -> Iterator[None]:
    """Raise any error in the block as FeatureStoreUnavailable. Errors of ours stay as they are.

    `what` is the first part of its message; `next_step` says by the error's text what to do.
    """
    try:
        yield
    except StreamFlowError:
        raise
    except Exception as error:
        raise FeatureStoreUnavailable(
            f"{what}: {one_line(error)}.", next_step(str(error))
        ) from error
