"""The HDF5 format and nothing else: layout, reading, writing, verification.

In: recordings. Out: rows and descriptions, whose bytes are those that were written. The layout is a contract: a
change needs a new `format_version`.
"""
