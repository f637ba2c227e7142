"""NIfTI and CIFTI series, atlases, and the motion of the head."""
