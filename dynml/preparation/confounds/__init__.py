"""Confounds of fMRI: which columns of a table count, which volumes are censored, and their removal together with
frequencies.
"""
