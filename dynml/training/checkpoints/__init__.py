"""What a run leaves on disk and goes on from: the experiment's folder, saved state, what may change on resume, the
summary.
"""
