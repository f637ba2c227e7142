"""Likelihood of Gaussians whose moments are mixed anew for every sample, compiled for a CPU or by torch, and modes
found from states.
"""
