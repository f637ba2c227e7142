"""Formats of MEG and EEG that the package mne reads, and what it passes over in them."""
