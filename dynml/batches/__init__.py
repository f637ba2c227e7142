"""Rows -> Batch: which spans make a batch (sampler), and how they become tensors on the device (loader).

A batch is a pure function of (seed, epoch, position).
"""
