"""What a sequence model may be asked to predict beside the signals of hidden tokens, and how that is scored."""
