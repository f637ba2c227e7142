"""Many runs at once: which settings do held-out people prefer?"""
