"""Inferred states or modes and signals in, spectra, bands and networks out. The estimators stand in ops/spectra."""
