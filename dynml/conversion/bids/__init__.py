"""Finds the runs of BIDS derivatives by the entities in their files' names."""
