"""Feast: definitions, types, the point-in-time join, materialization, what was online when."""

from streamflow.features.sources import history_source

__all__ = ["history_source"]
