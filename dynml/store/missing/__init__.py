"""Samples that were not observed: where they are masked, and how the segments that they divide are joined."""
