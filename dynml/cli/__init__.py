"""Commands and their arguments; the only package that prints."""

from dynml.cli.early_interruption import end_at_interruption

end_at_interruption()
