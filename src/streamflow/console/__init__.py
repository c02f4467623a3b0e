"""The web pages for people: what the state is, who is likely to leave, and acting on it.

Served by a process of its own, `streamflow console`, with no part of the API's.

May import: operations, pipeline, reports, monitoring, scores, reasons, promotion, keys, and what
they may; never api.
"""

__all__ = ["server"]
