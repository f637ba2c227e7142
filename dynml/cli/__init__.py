"""Commands and their arguments; the only room that prints."""
