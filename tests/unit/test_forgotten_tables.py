"""What `forget` says of the tables."""

from __future__ import annotations

from streamflow.operations.forgetting.rows import in_order


def test_tables_are_told_in_one_order_wherever_history_is() -> None:
    own = ["streamflow.listed", "streamflow.contacts"]
    others = ["churn.labels_history", "churn.users_history", "online.churn.users_fv"]
    in_postgres = [*own, *others]
    in_iceberg = [*own, others[2], *others[:2]]
    for met in (in_postgres, in_iceberg):
        assert [*in_order(dict.fromkeys(met, 1))] == in_postgres
