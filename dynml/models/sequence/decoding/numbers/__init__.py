"""Decoding of numbers (a rating, a force, an age) instead of classes."""
