"""What others wrote or will read: tars and weights in the layouts of learning-from-brains.

In: their files. Out: a store or an experiment.
"""
