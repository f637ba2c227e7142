"""Argument groups and builders that the scripts share; the only floor that prints to users."""
