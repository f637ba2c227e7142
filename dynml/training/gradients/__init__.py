"""Learning by gradients: optimizers, steps, averaged weights, and losses that are not finite."""
