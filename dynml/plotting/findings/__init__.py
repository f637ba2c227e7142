"""Figures of findings: spectra, responses, selection, checks, effects and predictions of people."""
