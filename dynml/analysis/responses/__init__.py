"""Values over time and events -> what happens around the events, and whether it is more than chance.

In: one subject's series (probabilities of states, mixing coefficients, features) with its events. Out: epochs, means of
subjects and groups, and tests. A test of the group flips signs of participants; one of a participant shifts the series
against the events within runs.
"""
