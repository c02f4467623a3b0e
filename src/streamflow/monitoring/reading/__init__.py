"""Counts of a month's rows, which PostgreSQL makes; no row of an entity is read here."""
