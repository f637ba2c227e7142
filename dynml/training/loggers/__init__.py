"""Where a run is reported to beside its own folder.

A further logger is a class like `RunLogger` and one branch of `asked_for`.
"""
