"""Likelihood of Gaussians whose moments are mixed anew for every sample, and modes found from states."""
