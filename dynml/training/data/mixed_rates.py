"""What is said of a model that counts time in samples, where its subjects were sampled at several rates."""

from __future__ import annotations

from typing import Any

from dynml.dataset.dataset import MultiSubjectDataset

SAME_RATE = 0.01
"""Rates whose largest is above the smallest by no more than this share count as one."""
N_NAMED = 4


def mixed_rates_in_words(model: Any, dataset: MultiSubjectDataset) -> list[str]:
    """Say that a model takes a sample for a sample, where that is another time in other subjects.

    Parameters
    ----------
    model : torch.nn.Module
        Of which `goes_by_samples` is true, if it does.
    dataset : MultiSubjectDataset

    Returns
    -------
    list of str
        One sentence, or none.
    """
    subsets = (dataset.training_set, dataset.validation_set, dataset.testing_set)
    rates = sorted({float(rate) for subset in subsets for rate in subset.sampling_frequencies})
    if not getattr(model, "goes_by_samples", False) or not rates or rates[-1] <= (1 + SAME_RATE) * rates[0]:
        return []
    shown = ", ".join(f"{rate:g}" for rate in (rates if len(rates) <= N_NAMED else (rates[0], rates[-1])))
    return [
        f"Subjects have several sampling frequencies ({shown} Hz), but the model goes from sample to sample and knows "
        "no seconds, so that the same course in time differs for it: bring all to one rate (the step 'downsample' of a "
        "store's config)."
    ]
