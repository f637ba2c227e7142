"""Commands and their arguments; the only package that prints."""
