"""Hidden Markov model with Gaussian states, trained by exact EM."""
