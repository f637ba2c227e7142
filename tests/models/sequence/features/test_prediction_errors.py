"""Errors of predictions at each sample, against the model itself, called on segments that are cut by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoding_data import dataset_of, small
from features_making import by_hand, decoder_of, experiment_of, gappy
from sequence_making import KINDS, model_of

from dynml import MultiSubjectDataset
from dynml.errors import CheckpointError
from dynml.models.sequence.features.prediction_errors import errors_of_subject, model_of_predictions

LENGTH = 10


@pytest.fixture(scope="module")
def dataset():
    return MultiSubjectDataset.from_arrays({"a": gappy(0)}, {"b": gappy(1)})


def test_errors_of_a_segment_are_the_models_and_its_first_sample_has_none(dataset):
    model, subset = model_of("csm", loss="l2"), dataset.training_set
    found = errors_of_subject(model, subset, 0, LENGTH)
    stored = subset.read(0, 31, 47)
    # Windows of ten that overlap by half; from each, what earlier ones have not said: its own first is never taken.
    with torch.no_grad():
        for first, begin in ((0, 1), (5, 10), (6, 15)):
            rows = stored[first : first + LENGTH]
            states = model.states(by_hand(rows, 2.0))
            errors = (model.unembedder(states[:, :-1])[0] - rows[1:]).square().numpy()
            np.testing.assert_allclose(
                found[31 + begin : 31 + first + LENGTH], errors[begin - first - 1 :], rtol=1e-4, atol=1e-5
            )
    assert np.isnan(found[[0, *range(25, 32)]]).all()
    assert np.isfinite(found[np.r_[1:25, 32:47]]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_predict_a_part_of_each_window_are_refused(kind):
    model = model_of(kind)
    family = "_".join(part for part in kind.split("_") if part not in ("single", "pairs", "post"))
    if kind in ("csm", "autoencoder"):
        assert model_of_predictions(experiment_of(model, family)) is model
        return
    with pytest.raises(CheckpointError, match=f"the family {family} predicts only what is hidden from it"):
        model_of_predictions(experiment_of(model, family))


def test_a_decoder_has_no_prediction_of_a_sample():
    decoder = decoder_of(dataset_of(), **small("csm"))
    with pytest.raises(CheckpointError, match="one prediction per trial or window, not one per sample"):
        model_of_predictions(experiment_of(decoder, "decoding"))
