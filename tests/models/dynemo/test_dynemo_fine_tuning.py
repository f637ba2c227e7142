"""A subject's own DyNeMo: what adapts, what stays, and that it helps a subject who is unlike the group."""

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, Dynemo, DynemoConfig, DynemoTrainer, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError
from dynml.models.dynemo.config import DynemoInitializationConfig
from dynml.models.dynemo.fine_tuning import fine_tuned
from dynml.models.dynemo.inference import infer
from dynml.simulation import simulate_mixed_sine


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A model of two subjects, and a third one whose channels have other scales; half of it is held out."""
    simulation = simulate_mixed_sine(n_subjects=3, n_samples=1600, n_modes=3, n_channels=5, seed=3).standardize()
    arrays = [array.astype(np.float32) for array in simulation.time_series]
    other = arrays[2] * np.linspace(0.7, 1.6, 5, dtype=np.float32)
    dataset = MultiSubjectDataset.from_arrays(arrays[:2], [other[:800]], [other[800:]])
    torch.manual_seed(0)
    config = DynemoConfig(
        n_modes=3,
        sequence_length=50,
        learn_means=False,
        inference_n_units=16,
        model_n_units=16,
        n_kl_annealing_epochs=3,
    )
    model = Dynemo(config, 5)
    sampler = BatchSampler(dataset, window_length=50, batch_size_training=8)
    start = DynemoInitializationConfig(method="hmm")
    folder = tmp_path_factory.mktemp("fine_tuning")
    loader = BatchLoader(dataset, model)
    DynemoTrainer(
        model, folder, "run", sampler, loader, initialization=start, max_epochs=8, progress=False
    ).train_and_validate()
    return model, dataset


def test_the_prior_stays_and_the_modes_adapt_to_a_better_bound_on_held_out_data(group):
    model, dataset = group
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = fine_tuned(model, dataset.validation_set, 0, n_epochs=15, learning_rate=0.01)
    changed = {name for name, tensor in own.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(name.startswith(("model_rnn", "prior_head", "means")) for name in changed)
    assert {"covariance_vectors"} < changed
    assert all(parameter.requires_grad for parameter in own.model_rnn.parameters())
    (group_says,), (own_says,) = (list(infer(m, dataset.testing_set)) for m in (model, own))
    assert own_says.free_energy < group_says.free_energy - 0.05


def test_fine_tuning_repeats_itself(group):
    model, dataset = group
    first, second = (fine_tuned(model, dataset.validation_set, 0, n_epochs=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_a_subject_without_a_whole_window_and_settings_without_sense_are_refused(group):
    model, _ = group
    short = MultiSubjectDataset.from_arrays([np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)])
    with pytest.raises(DataError, match="training-0 has no segment of 50 samples"):
        fine_tuned(model, short.training_set, 0)
    with pytest.raises(ConfigurationError, match="learning_rate"):
        fine_tuned(model, short.training_set, 0, learning_rate=0.0)
