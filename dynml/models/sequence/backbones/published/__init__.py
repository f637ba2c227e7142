"""Models that others have trained and published, as backbones of decoders; no weights come with them."""
