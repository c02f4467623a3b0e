"""What Feast's other online stores offer and this one does not, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import FeatureView

_NO_DOCUMENT_SEARCH = (
    "feast_postgres.PostgresOnlineStore doesn't search documents, by vector or by text. "
    "For a feature view that is searched, use a store with Feast's own PostgreSQL store "
    "(`type: postgres` with `vector_enabled: true` and the extension pgvector)"
)
_UNSUPPORTED_SETTINGS = {
    "vector_enabled": f"{_NO_DOCUMENT_SEARCH}, or leave vector_enabled out.",
    "enable_openai_compatible_store": (
        f"{_NO_DOCUMENT_SEARCH}, or leave enable_openai_compatible_store out."
    ),
    "key_ttl_seconds": (
        "feast_postgres.PostgresOnlineStore has no key_ttl_seconds: a row stays until a newer one "
        "replaces it. Leave the setting out, and delete old rows with SQL: "
        "DELETE FROM <table> WHERE event_timestamp < <moment>."
    ),
    "max_batched_result_rows": (
        "feast_postgres.PostgresOnlineStore has no max_batched_result_rows: it reads every request "
        "in one round trip. Leave the setting out."
    ),
}


def without_unsupported(given: Any) -> Any:
    """The settings, without those of Feast's other online stores that are turned off.

    Raises ValueError for one that is turned on.
    """
    if not isinstance(given, dict):
        return given
    for name, answer in _UNSUPPORTED_SETTINGS.items():
        if given.get(name):
            raise ValueError(answer)
    return {name: value for name, value in given.items() if name not in _UNSUPPORTED_SETTINGS}


def refuse_vector_index(view: FeatureView) -> None:
    """Raise ValueError if a feature of the view is to be searched by vector."""
    for field in view.features:
        if getattr(field, "vector_index", False):
            raise ValueError(
                f"Feature {field.name!r} of feature view {view.name!r} has vector_index=True. "
                f"{_NO_DOCUMENT_SEARCH}, or leave vector_index out."
            )


def no_document_search() -> NotImplementedError:
    """The error of a search for documents."""
    return NotImplementedError(f"{_NO_DOCUMENT_SEARCH}.")
