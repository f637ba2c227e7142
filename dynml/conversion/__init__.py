"""Recordings on disk -> store: finds and checks all sources, fits and applies the preparation, writes.

In: folders, BIDS derivatives or a table, and a config. Out: a verified store, or one sentence and no file.
"""
