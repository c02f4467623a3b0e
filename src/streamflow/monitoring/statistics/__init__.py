"""Figures over counts: how far a distribution has moved, and what chance alone would do."""
