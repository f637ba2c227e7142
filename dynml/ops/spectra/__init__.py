"""Spectra of signals that are weighted over time: signals, weights and stretches in, cross spectra out."""
