"""The report of a month: one self-contained HTML file.

May import: monitoring, and what it may.
"""

__all__: list[str] = []
