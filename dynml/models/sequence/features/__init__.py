"""What trained sequence models and decoders make of recordings: vectors, hidden states, attributions, attention."""
