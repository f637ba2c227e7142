"""Embeddings and hidden states against the model itself, called on windows that are cut by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoding_data import RATE, TRIAL, dataset_of, recording, small
from features_making import by_hand, decoder_of, experiment_of, gappy
from sequence_making import model_of

from dynml import MultiSubjectDataset
from dynml.errors import CheckpointError, ConfigurationError, DataError, DataWarning
from dynml.models.experiment import Experiment
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.registry import get_family
from dynml.models.sequence.features.extraction import (
    embeddings_of,
    model_of_states,
    model_with_embeddings,
    settled_pooling,
    states_of_subject,
)
from dynml.models.sequence.features.pieces import Cut, check_length, pieces_of_subset, settled_cut, trained_length

N_CHANNELS, LENGTH = 6, 10


@pytest.fixture(scope="module")
def dataset():
    return MultiSubjectDataset.from_arrays({"a": gappy(0), "b": gappy(1)}, {"c": gappy(2)})


@pytest.mark.parametrize(
    ("kind", "family", "asked"),
    [
        ("csm", "csm", None),
        ("sequence_bert_pairs", "sequence_bert", "class_token"),
        ("network_bert", "network_bert", "mean"),
        ("autoencoder", "autoencoder", None),
    ],
)
def test_an_embedding_is_what_the_model_makes_of_its_window_alone(dataset, kind, family, asked):
    model = model_of(kind)
    experiment = experiment_of(model, family, window_length=[4, LENGTH])
    cut = settled_cut(experiment, dataset, Cut(), ["training"])
    assert cut == Cut(window_length=LENGTH)
    pieces = pieces_of_subset(experiment, dataset, "training", cut)
    places = [(0, 10), (10, 20), (20, 25), (31, 41), (41, 47)]
    spans = pieces.spans
    assert list(zip(spans.subject, spans.start, spans.stop)) == [(s, *place) for s in (0, 1) for place in places]
    assert pieces.number.tolist() == [0, 1, 2, 3, 4] * 2
    assert pieces.run == ["run_0"] * 10
    assert pieces.participants == ["a"] * 5 + ["b"] * 5
    pooling = settled_pooling(model, asked)
    found = embeddings_of(model, pieces, pooling)
    assert found.shape == (10, model.embedding_dim)
    for row, (subject, start, stop) in enumerate(zip(spans.subject, spans.start, spans.stop)):
        window = by_hand(dataset.training_set.read(int(subject), int(start), int(stop)), 2.0)
        with torch.no_grad():
            expected = {
                "mean": lambda window=window: model.states(window)[0].mean(dim=0),
                "code": lambda window=window: model.code(window)[0],
                "class_token": lambda window=window: model.pooled(window, "class_token")[0],
            }[pooling]()
        np.testing.assert_allclose(found[row], expected, atol=2e-5)


@pytest.mark.parametrize("backbone", ["linear", "csm"])
def test_a_decoders_embeddings_are_what_its_head_reads_of_padded_trials(backbone):
    data = dataset_of(2, 1, 0)
    events = data.signal_source.events("sub-a", data.group)
    events.duration[::3] -= 5
    decoder = decoder_of(data, **({"backbone": "linear"} if backbone == "linear" else small(backbone)))
    experiment = experiment_of(decoder, "decoding", trials="stimulus", onset_shift=0.2, trial_length=None)
    cut = settled_cut(experiment, data, Cut(), ["training"])
    assert cut == Cut(trials="stimulus", onset_shift=0.2)
    pieces = pieces_of_subset(experiment, data, "training", cut)
    assert set(pieces.spans.lengths) == {TRIAL - 5, TRIAL}
    assert pieces.number.tolist() == list(range(8)) * 4
    found = embeddings_of(decoder, pieces, settled_pooling(decoder, None))
    heads_input = []
    hook = decoder.hidden.register_forward_pre_hook(lambda _, inputs: heads_input.append(inputs[0][0]))
    for row in range(len(pieces)):
        number, first = pieces.spans.subject[row], int(pieces.spans.start[row])
        own = data.signal_source.events(pieces.subjects[row], data.group)
        position = row - 16 * number
        assert first == own.onset[position] + round(0.2 * RATE)
        assert pieces.names[pieces.truth[row]] == own.names["stimulus"][own.labels["stimulus"][position]]
        with torch.no_grad():
            decoder(by_hand(data.training_set.read(number, first, first + int(own.duration[position])), RATE))
    hook.remove()
    np.testing.assert_allclose(found, torch.stack(heads_input), atol=2e-5)


class Echo(torch.nn.Module):
    """States that are the signals, and the place in the window."""

    embedding_dim, causal = N_CHANNELS + 1, True

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def states(self, windows):
        place = (windows.seconds_BT * 2.0).float()[:, :, None]
        return torch.cat([windows.signals_BTC, place], dim=2)


def test_rows_of_states_are_the_stored_rows(dataset):
    states = states_of_subject(Echo(), dataset.training_set, 1, LENGTH)
    stored = dataset.training_set.read(1, 0, 47).numpy()
    good = np.r_[0:25, 31:47]
    assert states.shape == (47, N_CHANNELS + 1)
    np.testing.assert_array_equal(states[good, :-1], stored[good])
    assert np.isnan(states[25:31]).all()
    assert states[[0, 9, 10, 14, 24, 31, 46], -1].tolist() == [0, 9, 5, 9, 9, 0, 9]


@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "autoencoder"])
def test_states_of_a_segment_that_is_one_window_are_the_models(dataset, kind):
    model = model_of(kind)
    states = states_of_subject(model, dataset.training_set, 0, 30)
    with torch.no_grad():
        expected = model.states(by_hand(dataset.training_set.read(0, 31, 47), 2.0))[0]
    np.testing.assert_allclose(states[31:47], expected, atol=2e-5)


def test_without_a_word_recordings_are_cut_as_in_the_training(dataset):
    csm = model_of("csm")
    assert settled_cut(experiment_of(csm, "csm"), dataset, Cut(), ["training"]) == Cut(window_length=25)
    trained = experiment_of(csm, "csm", trials="task", onset_shift=4.0, trial_length=8)
    assert settled_cut(trained, dataset, Cut(), []) == Cut(trials="task", onset_shift=4.0, trial_length=8)
    asked = Cut(trials="other", onset_shift=0.0)
    assert settled_cut(trained, dataset, asked, []) == Cut(trials="other", onset_shift=0.0, trial_length=8)
    assert settled_cut(trained, dataset, Cut(window_length=5), []) == Cut(window_length=5)
    assert trained_length(experiment_of(csm, "csm", window_length=[5, 12])) == 12
    assert trained_length(experiment_of(csm, "csm")) is None


def test_windows_of_a_decoder_of_covariates_have_the_subjects_label(monkeypatch):
    data = dataset_of(3, 1, 0)
    values = {"sub-a": {"age": "old"}, "sub-b": {"age": "young"}, "sub-c": {}, "sub-d": {"age": "old"}}
    monkeypatch.setattr(data.signal_source, "covariates", values.get, raising=False)
    decoder = decoder_of(data, backbone="linear", target="age")
    sampler = {"window_length": 50, "minimum_length": 20, "batch_size_training": 16}
    experiment = experiment_of(decoder, "decoding", **sampler)
    cut = settled_cut(experiment, data, Cut(), ["training"])
    assert cut == Cut(covariate="age")
    pieces = pieces_of_subset(experiment, data, "training", cut)
    labels = {
        s: {pieces.names[code] if code >= 0 else None for code in pieces.truth[pieces.spans.subject == i]}
        for i, s in enumerate(data.training_set.subjects)
    }
    assert labels == {"sub-a": {"old"}, "sub-b": {"young"}, "sub-c": {None}}
    assert set(pieces.spans.lengths) == {50, 28}


def test_trials_that_are_lost_are_told(dataset):
    data = MultiSubjectDataset.from_arrays({"sub-a": recording(0)})
    experiment = experiment_of(model_of("csm"), "csm")
    with pytest.warns(DataWarning, match="2 of 16 training trials have less than half"):
        pieces = pieces_of_subset(experiment, data, "training", Cut(trials="stimulus", onset_shift=1.1))
    assert len(pieces) == 14
    assert pieces.number.tolist() == [*range(7)] * 2
    with pytest.raises(DataError, match="No subject has events with a column 'stimulos' \\(did you mean 'stimulus'"):
        pieces_of_subset(experiment, data, "training", Cut(trials="stimulos"))


def test_what_no_model_can_give_is_refused(dataset):
    csm, data = model_of("csm"), dataset_of(2, 1, 0)
    experiment = experiment_of(csm, "csm")
    with pytest.raises(ConfigurationError, match="--pooling is 'class_token', but must be mean: .* never trained"):
        settled_pooling(csm, "class_token")
    with pytest.raises(ConfigurationError, match="--pooling is 'mean', but must be absent for the autoencoder"):
        settled_pooling(model_of("autoencoder"), "mean")
    linear, probe = decoder_of(data, backbone="linear"), decoder_of(data, **small("csm", pooling="class_token"))
    assert (settled_pooling(linear, None), settled_pooling(probe, "class_token")) == ("weighted_mean", "class_token")
    with pytest.raises(ConfigurationError, match="what its head reads \\(class_token\\)"):
        settled_pooling(probe, "mean")
    for decoder in (linear, decoder_of(data, **small("autoencoder"))):
        with pytest.raises(ConfigurationError, match="--per_sample is True, but must be absent"):
            model_of_states(decoder)
    with pytest.raises(ConfigurationError, match="--window_length is 600, but must be at most 509 samples"):
        check_length(csm, dataset, 600, "--window_length")
    with pytest.raises(ConfigurationError, match="--trial_length is 13, but must be at most 12"):
        check_length(linear, data, 13, "--trial_length")
    with pytest.raises(ConfigurationError, match="--trial_length is 30, but must be at most 29 samples"):
        check_length(probe, data, 30, "--trial_length")
    with pytest.raises(ConfigurationError, match="--onset_shift is 2.0, but must be absent unless --trials"):
        settled_cut(experiment, dataset, Cut(onset_shift=2.0), ["training"])
    with pytest.raises(ConfigurationError, match="--trials is 'task', but must be absent where --window_length"):
        Cut(window_length=4, trials="task")
    with pytest.raises(ConfigurationError, match="--window_length is 0"):
        Cut(window_length=0)
    hmm = Experiment(GaussianHMM(HMMConfig(n_states=2), 3), {}, get_family("hmm"))
    with pytest.raises(CheckpointError, match="The family hmm has no embeddings"):
        model_with_embeddings(hmm)
