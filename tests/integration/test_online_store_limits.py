"""What the online store doesn't do is said, with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest
from feast import FeatureView, Field
from feast.types import Array, Float32, Float64, String
from tests.feast_stores import KEY_FIELDS, USER, StoreUnderTest

from feast_postgres import PostgresOnlineStoreConfig

pytest_plugins = "tests.feast_stores"

INSTEAD = "doesn't search documents.*Feast's own PostgreSQL store.*pgvector"


def test_a_vector_index_is_refused_when_it_is_applied(postgres: StoreUnderTest) -> None:
    plain = postgres.view(fee=Float64)
    indexed = FeatureView(
        name="documents",
        entities=[USER],
        schema=[
            KEY_FIELDS["user"],
            Field(name="embedding", dtype=Array(Float32), vector_index=True),
        ],
        source=plain.batch_source,
    )
    with pytest.raises(ValueError, match=f"'embedding' of feature view 'documents'.*{INSTEAD}"):
        postgres.feast.apply([indexed])
    assert [view.name for view in postgres.feast.list_feature_views()] == ["profile"]


def test_a_search_for_documents_says_that_there_is_none(postgres: StoreUnderTest) -> None:
    postgres.view("documents", embedding=Array(Float32), text=String)
    feast = postgres.feast
    with pytest.raises(NotImplementedError, match=INSTEAD):
        feast.retrieve_online_documents(
            query=[0.5, 0.5], top_k=1, features=["documents:embedding"], distance_metric="L2"
        )
    with pytest.raises(NotImplementedError, match=INSTEAD):
        feast.retrieve_online_documents_v2(
            features=["documents:text"], query_string="a word", top_k=1
        )


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ({"vector_enabled": True}, f"{INSTEAD}.*leave vector_enabled out"),
        ({"enable_openai_compatible_store": True}, INSTEAD),
        ({"key_ttl_seconds": 60}, "a row stays until a newer one.*DELETE FROM"),
        ({"max_batched_result_rows": 9}, "every request in one round trip"),
        ({"vector_lenght": 3}, "Extra inputs are not permitted"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_setting_of_other_stores_has_a_clear_answer(
    postgres_config: dict[str, Any], setting: dict[str, Any], answer: str
) -> None:
    with pytest.raises(ValueError, match=answer):
        PostgresOnlineStoreConfig(**postgres_config, **setting)


def test_a_setting_of_other_stores_that_is_turned_off_is_accepted(
    postgres_config: dict[str, Any],
) -> None:
    config = PostgresOnlineStoreConfig(
        **postgres_config, vector_enabled=False, key_ttl_seconds=None
    )
    assert config == PostgresOnlineStoreConfig(**postgres_config)
