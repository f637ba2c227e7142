"""Values around events: rows that a model says nothing of are outside, and not masked."""

import numpy as np
import pytest
from decoding_data import N_TRIALS, REST, TRIAL, dataset_of, small
from features_making import decoder_of, experiment_of

from dynml.cli.outputs.series import kind_of_values, subject_series
from dynml.errors import CheckpointError
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.features.prediction_errors import errors_of_subject
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.settling import settled_model

LENGTH = N_TRIALS * (TRIAL + REST)


def test_errors_of_predictions_begin_with_the_second_sample_of_each_run():
    dataset = dataset_of(1, 0, 0)
    config = CsmConfig(embedding_dim=16, n_layers=1, n_heads=2, n_positions=64, linear_path=False)
    model = Csm(settled_model(config, dataset), dataset.n_channels).eval()
    experiment = experiment_of(model, "csm", window_length=20)
    assert kind_of_values(experiment, "predictions") == "predictions"
    ((subject, _, series),) = subject_series(
        experiment, dataset, ["training"], "predictions", "stimulus", ("face", "house")
    )
    assert subject == "sub-a"
    expected = np.ones(2 * LENGTH, dtype=bool)
    expected[[0, LENGTH]] = False
    np.testing.assert_array_equal(series.valid, expected)
    assert not series.masked.any()
    np.testing.assert_array_equal(series.values, errors_of_subject(model, dataset.training_set, 0, 20))
    assert len(series.onsets) == 2 * N_TRIALS


def test_a_decoder_without_anything_of_each_sample_has_nothing_around_events():
    dataset = dataset_of(1, 1, 0)
    linear = experiment_of(decoder_of(dataset, backbone="linear"), "decoding")
    for asked in ("features", "auto"):
        with pytest.raises(
            CheckpointError, match="A decoder with the backbone linear has one vector and one prediction"
        ):
            kind_of_values(linear, asked)
    with pytest.raises(CheckpointError, match="one prediction per trial or window"):
        kind_of_values(linear, "predictions")
    assert kind_of_values(experiment_of(decoder_of(dataset, **small("csm")), "decoding"), "auto") == "features"
