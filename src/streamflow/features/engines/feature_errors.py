"""Errors of Feast, of its drivers and of the engines, raised as one of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamflow.errors import FeatureStoreUnavailable, StreamFlowError
from streamflow.use_case.findings import one_line


def _room_or_apply(error: str) -> str:
    """What is to do after an error of DuckDB's or of Feast's."""
    if "No space left" in error or "max_temp_directory_size" in error:
        return (
            "Make room on that disk, or set STREAMFLOW_ENGINE_SPILL to a folder on one that has "
            "it, and run the same command again."
        )
    if "Out of Memory" in error:
        return "Set a larger STREAMFLOW_ENGINE_MEMORY, and run the same command again."
    return "See `streamflow status`; run `streamflow apply` if it never was."


@contextmanager
def unavailable(what: str, next_step: Callable[[str], str] = _room_or_apply) -> Iterator[None]:
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
