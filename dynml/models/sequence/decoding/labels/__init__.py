"""Decoding of several labels of a trial at once, each with a probability of its own."""
