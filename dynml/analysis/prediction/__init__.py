"""Features of people -> what is known of them, predicted in people that were not learnt from.

In: sets of features (tables, covariances, scores of a model) and a target. Out: nested cross-validation by families or
sites, with confounds removed within folds, scores beside those of baselines, and their p by permutation.
"""
