"""Files of decoders: of numbers, of labels, over time, and what all their tables have in common."""
