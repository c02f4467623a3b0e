"""The sums that served models compute, read from the very files that are served."""
