"""Figures on participants: effects with their intervals, predictions beside the truth."""
