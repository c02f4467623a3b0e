"""The steps of a month after its training: score, explain, monitor, report; the month as a whole.

May import: what pipeline may.
"""

__all__: list[str] = []
