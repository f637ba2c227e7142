"""What training learns of the data as a whole: moments and ranks, scale, EM over any iterable of batches, baselines,
and differences between subjects.
"""
