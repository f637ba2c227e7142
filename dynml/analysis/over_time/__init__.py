"""Decoding of trials at each of their samples: accuracies over time, and whether they are more than chance."""
