"""Tables of results and a table of participants -> what differs between people.

In: any tidy table of results and a design, as a formula. Out: general linear models with permutation tests, effect
sizes with intervals, and sentences. `measures` and `participants` read; `prediction` reads by them, too.
"""
