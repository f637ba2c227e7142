"""Batch -> weights: the trainer's loop, and what all families share of it.

In: a model, a sampler, a loader. Out: an experiment's folder. `run_state` says what a run is made of, `recorded_run`
what it writes down, `trainer` what happens when; a family overrides methods of the first and the last.
"""
