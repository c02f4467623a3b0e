"""How features are spoken of in a reason for a score."""

from __future__ import annotations

from streamflow.use_case import Phrase
from streamflow.use_case.phrases import Phrases

PHRASES: Phrases = {
    "months_active": Phrase("a customer for {value} months", one="a customer for {value} month"),
    "monthly_fee": "a monthly fee of {value}",
    "paperless_billing": Phrase(true="paperless billing", false="bills on paper"),
    "plan_stream_tv": Phrase(
        true="streams TV", false="doesn't stream TV", null="has no streaming plans"
    ),
    "plan_stream_movies": Phrase(
        true="streams movies", false="doesn't stream movies", null="has no streaming plans"
    ),
    "net_service": "internet service: {value}",
    "watch_hours_30d": "{value} hours watched in 30 days",
    "avg_session_mins_7d": "sessions of {value} minutes in the last 7 days",
    "unique_devices_30d": Phrase(
        "watched on {value} devices in 30 days", one="watched on {value} device in 30 days"
    ),
    "skips_7d": Phrase("{value} skips in 7 days", one="{value} skip in 7 days"),
    "rebuffer_events_7d": Phrase(
        "{value} interruptions of the picture in 7 days",
        one="{value} interruption of the picture in 7 days",
    ),
    "failed_payments_90d": Phrase(
        "{value} failed payments in 90 days", one="{value} failed payment in 90 days"
    ),
    "support_tickets_90d": Phrase(
        "{value} support tickets in 90 days", one="{value} support ticket in 90 days"
    ),
    "ticket_avg_resolution_hrs_90d": "tickets resolved in {value} hours on average",
}
