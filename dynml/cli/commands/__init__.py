"""One module a script, or a few scripts that belong together: its arguments, and what it does."""
