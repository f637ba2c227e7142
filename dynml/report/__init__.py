"""An experiment and its results -> one page in HTML. Nothing is computed here that is not a figure or a sentence."""
