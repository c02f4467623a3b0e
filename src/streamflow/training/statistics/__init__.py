"""Figures of scores and their uncertainty: resamples, ranks, calibration, shift. Pure.

May import: training's served_model.
"""

__all__ = ["calibration", "comparison", "ranked_scores", "resamples", "score_shift", "shares"]
