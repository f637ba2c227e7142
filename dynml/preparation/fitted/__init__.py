"""Preparation steps that are fitted across the training subjects, stored, and applied to any later subject."""
