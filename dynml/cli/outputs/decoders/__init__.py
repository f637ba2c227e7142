"""Files of decoders: of numbers, over time, and what all their tables have in common."""
