"""Augmentation of windows: how much of what (`amounts`), and what it does to rows (`rows`)."""
