"""The contract of each source table: columns, types, nullability, ranges and allowed values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow.use_case import Table

if TYPE_CHECKING:
    from pandera.pandas import Column


def tables() -> tuple[Table, ...]:
    """The six tables of a month; `users` holds every user of the others."""
    from pandera.pandas import Check, Column, DataFrameSchema

    def user_id() -> Column:
        return Column("string", Check.str_length(1, 64), unique=True)

    def flag(*, nullable: bool = False) -> Column:
        return Column("boolean", nullable=nullable)

    def count() -> Column:
        return Column("Int64", Check.ge(0))

    def amount() -> Column:
        return Column("Float64", Check.ge(0))

    def one_of(*values: str) -> Column:
        return Column("string", Check.isin(values))

    return (
        Table(
            "users",
            DataFrameSchema(
                {
                    "user_id": user_id(),
                    "signup_date": Column("date"),
                    "user_gender": one_of("Female", "Male", "Other"),
                    "user_is_senior": flag(),
                    "has_family": flag(),
                    "has_dependents": flag(),
                }
            ),
            # Who signed up later isn't a subscriber yet.
            not_after_as_of=("signup_date",),
        ),
        Table(
            "subscriptions",
            DataFrameSchema(
                {
                    "user_id": user_id(),
                    "months_active": count(),
                    # Null for a subscriber without internet service, who can have no plan.
                    "plan_stream_tv": flag(nullable=True),
                    "plan_stream_movies": flag(nullable=True),
                    "contract_type": one_of("Month-to-month", "One year", "Two year"),
                    "paperless_billing": flag(),
                    "monthly_fee": amount(),
                    "total_paid": amount(),
                    "net_service": one_of("DSL", "Fiber optic", "No"),
                }
            ),
        ),
        Table(
            "usage_agg_30d",
            DataFrameSchema(
                {
                    "user_id": user_id(),
                    "watch_hours_30d": Column("Float64", Check.in_range(0, 24 * 31)),
                    "avg_session_mins_7d": Column("Float64", Check.in_range(0, 24 * 60)),
                    "unique_devices_30d": count(),
                    "skips_7d": count(),
                    "rebuffer_events_7d": count(),
                }
            ),
        ),
        Table(
            "payments_agg_90d",
            DataFrameSchema({"user_id": user_id(), "failed_payments_90d": count()}),
        ),
        Table(
            "support_agg_90d",
            DataFrameSchema(
                {
                    "user_id": user_id(),
                    "support_tickets_90d": count(),
                    "ticket_avg_resolution_hrs_90d": amount(),
                }
            ),
        ),
        Table("labels", DataFrameSchema({"user_id": user_id(), "churn_label": flag()})),
    )
