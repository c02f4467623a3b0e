"""What has moved since the training month: figures, the rules that raise alarms, their tables.

May import: scores, reasons, and what they may.
"""

__all__ = ["alarm", "month", "recorded", "retraining", "rules"]
