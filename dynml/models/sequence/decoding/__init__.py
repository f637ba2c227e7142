"""Decoding: classes of trials (or of recordings) from signals, by a backbone and a head."""
