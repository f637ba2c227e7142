"""Several groups of a store as one dataset: which channels each subject has, and where the others are left empty."""
