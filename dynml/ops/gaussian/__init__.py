"""Log-likelihoods of Gaussian states: whiteners, compiled loops on a CPU, products on a GPU."""
