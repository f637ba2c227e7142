"""Moments of signals: weighted by states, pooled over all data, and the directions that all states share."""
