"""Confounds of fMRI: which columns count, which volumes are censored, and their removal together with frequencies."""
