"""Probabilities that are corrected on folds of the training rows: `train --calibrate`.

scikit-learn's CalibratedClassifierCV fits the correction to what models of the folds say about rows
that they haven't seen; what is corrected is one model, fitted to all training rows.
"""
