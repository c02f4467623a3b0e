"""The search for the best model and parameters, on rows that don't judge it.

May import: training, use_case, errors, progress.
"""
