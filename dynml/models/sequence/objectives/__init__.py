"""The families: what is shown of a window, what must be predicted, and what an error costs."""
