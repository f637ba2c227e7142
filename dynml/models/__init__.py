"""One folder a family: config (no torch), model (pure), trainer, and what only that family needs."""
