"""A second group of the store, laid beside the rows of the first one by time: what a model is conditioned by."""
