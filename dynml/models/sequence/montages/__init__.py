"""Training on several groups of a store, each with channels of its own: what is refused, and what is said of it."""
