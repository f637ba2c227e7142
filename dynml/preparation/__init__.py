"""Recording -> Recording: checks, steps, steps fitted across subjects, standardization.

In: recordings and a config's list of steps. Out: recordings with a note of what was done. A new step is a module of
`steps` or `fitted`, and one line in `chain.STEPS`; another package adds its own by the entry point
`dynml.steps`.
"""
