"""The Gaussian HMM as pure functions: forward-backward, E-step, M-step, starts, revival, paths."""
