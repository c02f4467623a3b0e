"""From a training set to a fitted estimator, its figures and the form in which it is served."""
