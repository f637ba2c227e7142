"""Sequence models: causal, masked and autoencoding models of unlabelled signals, and decoding with them."""
