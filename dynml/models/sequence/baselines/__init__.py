"""Linear predictions that a sequence model must beat.

A further one is a subclass of `Baseline` and a name in `named`.
"""
