"""Events, appended as they come, and the features of months that are aggregated from them.

May import: history's own modules, postgres, top modules.
"""

__all__ = ["aggregate", "event_findings", "events_table", "recorded_aggregations", "stage_events"]
