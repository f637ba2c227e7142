"""Forward-backward on a GPU in a handful of launches, by kernels in Triton; checked at their first use."""
