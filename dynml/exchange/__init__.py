"""What others wrote or will read: tars and weights of learning-from-brains, HMMs of osl-dynamics, models to give away.

In: their files. Out: a store, an experiment, or an exported model.
"""
