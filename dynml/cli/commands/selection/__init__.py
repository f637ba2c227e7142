"""Many runs at once: which settings held-out people prefer."""
