"""Is it dynamics? A trained model and its data -> verdicts, each a number, what it is set against, and a sentence."""
