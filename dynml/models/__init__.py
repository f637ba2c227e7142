"""One folder a family: config (no torch), model (pure), trainer, and what only that family needs.

A family never imports another one. `registry` knows their names and parts.
"""
