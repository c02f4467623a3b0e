"""The report of a month, one self-contained HTML file: figures in, text out.

May import: monitoring, use_case, errors.
"""

__all__ = ["environment", "marks", "month_report", "page"]
