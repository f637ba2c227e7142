"""Store or arrays -> rows: subsets, where the series live, embedding on the fly, masked rows.

In: a source of signals. Out: rows on a device, the same bits wherever they live.
"""
