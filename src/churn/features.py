"""Feast's definitions: the entity, the feature views, and the feature service."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast.feast_object import FeastObject
    from feast.types import PrimitiveFeastType

# A month, and two weeks until the next month's files arrive.
TTL = timedelta(days=45)


def definitions() -> list[FeastObject]:
    """The entity `user`, four feature views and the feature service `churn_v1`."""
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.types import Bool, Float64, Int64, String

    from streamflow.features import history_source

    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)

    def view(name: str, table: str, **fields: PrimitiveFeastType) -> FeatureView:
        return FeatureView(
            name=name,
            entities=[user],
            ttl=TTL,
            schema=[Field(name=field, dtype=dtype) for field, dtype in fields.items()],
            source=history_source(table),
        )

    subs_profile = view(
        "subs_profile_fv",
        "subscriptions",
        months_active=Int64,
        monthly_fee=Float64,
        paperless_billing=Bool,
        plan_stream_tv=Bool,
        plan_stream_movies=Bool,
        net_service=String,
    )
    usage = view(
        "usage_agg_30d_fv",
        "usage_agg_30d",
        watch_hours_30d=Float64,
        avg_session_mins_7d=Float64,
        unique_devices_30d=Int64,
        skips_7d=Int64,
        rebuffer_events_7d=Int64,
    )
    payments = view("payments_agg_90d_fv", "payments_agg_90d", failed_payments_90d=Int64)
    support = view(
        "support_agg_90d_fv",
        "support_agg_90d",
        support_tickets_90d=Int64,
        ticket_avg_resolution_hrs_90d=Float64,
    )
    churn = FeatureService(name="churn_v1", features=[subs_profile, usage, payments, support])
    return [user, subs_profile, usage, payments, support, churn]
