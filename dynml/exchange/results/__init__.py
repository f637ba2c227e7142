"""Results in the forms of others: BIDS derivatives, tables and .mat files of alpha.

In: what a model says of a subject, and where its rows come from. Out: files. What was not observed is never a number.
"""
