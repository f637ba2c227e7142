"""Values and networks of channels on a brain or a head, or as bars and matrices where nobody knows where they lie."""
