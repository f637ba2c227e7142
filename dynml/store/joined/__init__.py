"""Stores whose subjects lie in several files: which files these are, and that they are still those that were joined."""
