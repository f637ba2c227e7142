"""Filters that know a simulation's truth: the errors that no model can go below."""
