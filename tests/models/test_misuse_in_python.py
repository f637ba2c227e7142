"""What a user of Python gets wrong is said in one sentence, before anything is trained or written."""

import numpy as np
import pytest
import torch

import dynml
from dynml import (
    BatchLoader,
    BatchSampler,
    Dynemo,
    DynemoConfig,
    DynemoInitializationConfig,
    DynemoTrainer,
    GaussianHMM,
    HMMConfig,
    HMMTrainer,
    MultiSubjectDataset,
    Trainer,
)
from dynml.errors import CheckpointError, ConfigurationError, DataError, DataWarning, DynmlError

ARRAYS = [np.random.default_rng(seed).normal(size=(300, 4)) for seed in range(3)]


@pytest.fixture(scope="module")
def dataset():
    return MultiSubjectDataset.from_arrays(ARRAYS, standardization="none")


@pytest.fixture(scope="module")
def masked():
    arrays = [array.copy() for array in ARRAYS]
    arrays[0][20:40] = np.nan
    return MultiSubjectDataset.from_arrays(arrays, standardization="none", missing="mask")


class Own(torch.nn.Module):
    """Predicts each sample from itself."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, signals):
        return self.linear(signals)

    def compute_loss(self, outputs, batch):
        return (outputs - batch.signals).square().mean(), outputs.numel()


class OwnThatKnows(Own):
    """The same, by the observed samples alone."""

    knows_masked_samples = True

    def compute_loss(self, outputs, batch):
        signals = batch.signals if batch.observed is None else batch.signals[batch.observed]
        outputs = self.linear(signals)
        return (outputs - signals).square().mean(), outputs.numel()


@pytest.mark.parametrize("arguments", [(4, 8), (8, HMMConfig(n_states=2)), (DynemoConfig(n_modes=2), 8)])
def test_an_hmm_is_made_of_its_config(arguments):
    with pytest.raises(ConfigurationError, match=r"config is .* but must be an HMMConfig: GaussianHMM\(HMMConfig"):
        GaussianHMM(*arguments)


@pytest.mark.parametrize("arguments", [(4, 8), ({"n_modes": 3}, 8), (HMMConfig(n_states=2), 8)])
def test_a_dynemo_is_made_of_its_config(arguments):
    with pytest.raises(ConfigurationError, match=r"config is .* but must be a DynemoConfig: Dynemo\(DynemoConfig"):
        Dynemo(*arguments)


@pytest.mark.parametrize("n_channels", ["4", 0, 4.0, None])
def test_channels_are_a_whole_number(n_channels):
    with pytest.raises(ConfigurationError, match="n_channels is .* but must be a whole number of at least 1"):
        GaussianHMM(HMMConfig(n_states=2), n_channels)


@pytest.mark.parametrize("what", ["store.hdf5", ARRAYS, GaussianHMM(HMMConfig(n_states=2), 4)])
def test_samplers_and_loaders_take_a_dataset(what):
    for part in (BatchSampler, BatchLoader):
        with pytest.raises(
            ConfigurationError, match="must be a MultiSubjectDataset: MultiSubjectDataset.path. for a store"
        ):
            part(what)


def parts(dataset, model, collate="packed"):
    return BatchSampler(dataset), BatchLoader(dataset, model, collate=collate)


def test_parts_of_a_trainer_have_their_places_and_types(tmp_path, dataset):
    model = GaussianHMM(HMMConfig(n_states=2), 4)
    sampler, loader = parts(dataset, model)
    wrong = [
        (HMMTrainer, (model, tmp_path, "x", loader, sampler), {}, "batch_sampler is an object of the type BatchLoader"),
        (HMMTrainer, ("hmm", tmp_path, "x", sampler, loader), {}, "model is 'hmm', but must be a GaussianHMM"),
        (DynemoTrainer, (model, tmp_path, "x", sampler, loader), {}, "must be a Dynemo, as DynemoTrainer trains it"),
        (HMMTrainer, (model, tmp_path, "x", sampler, loader, {"max_epochs": 3}), {}, "must be a HMMTrainerConfig"),
        (HMMTrainer, (model, tmp_path, 5, sampler, loader), {}, "experiment name is 5"),
        (HMMTrainer, (model, None, "x", sampler, loader), {}, "experiments path is None"),
        (HMMTrainer, (model, tmp_path, "x", sampler, loader), {"resume": True}, "resume is True"),
        (
            HMMTrainer,
            (model, tmp_path, "x", sampler, loader),
            {"initialization": DynemoInitializationConfig()},
            "HMMInit",
        ),
        (HMMTrainer, (model, tmp_path, "x", sampler, loader), {"loggers": "comet"}, "a list of loggers"),
    ]
    for trainer, arguments, settings, sentence in wrong:
        with pytest.raises((ConfigurationError, CheckpointError), match=sentence):
            trainer(*arguments, **settings)
    assert not list(tmp_path.iterdir())


def test_data_of_other_channels_are_refused_before_training(tmp_path, dataset):
    model = GaussianHMM(HMMConfig(n_states=2), 5)
    sampler, loader = BatchSampler(dataset), BatchLoader(dataset, collate="packed")
    with pytest.raises(ConfigurationError, match=r"model.n_channels is 5, but must be the data's \(4\)"):
        HMMTrainer(model, tmp_path, "x", sampler, loader)
    narrow = MultiSubjectDataset.from_arrays([array[:, :3] for array in ARRAYS], standardization="none")
    with pytest.raises(ConfigurationError, match="made with another dataset"):
        HMMTrainer(GaussianHMM(HMMConfig(n_states=2), 4), tmp_path, "x", BatchSampler(narrow), loader)


def test_masked_samples_need_a_model_that_says_it_knows_them(tmp_path, masked):
    model = Own()
    with pytest.raises(ConfigurationError, match="20 samples of the data are masked.*knows_masked_samples = True"):
        Trainer(model, tmp_path, "x", *parts(masked, model, "padded"))
    knowing = OwnThatKnows()
    trainer = Trainer(knowing, tmp_path, "y", *parts(masked, knowing, "padded"), max_epochs=1, progress=False)
    assert np.isfinite(trainer.train_and_validate()["best_value"])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (None, "The training data are None"),
        (3, "The training data are 3"),
        (["a.npy"], "'a.npy' is not an array; files go into a store first"),
        (ARRAYS[0][:, 0], "must be time x channels"),
        ([array.T for array in ARRAYS], "looks transposed"),
        ([array.astype(object) for array in ARRAYS], "the type object, but must hold real numbers"),
        ([], "no subject in any subset"),
    ],
)
def test_what_is_no_list_of_arrays_is_refused(arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        MultiSubjectDataset.from_arrays(arrays)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"channel_names": "abcd"}, "channel_names is 'abcd', but must be a list of names"),
        ({"channel_names": ["a"] * 4}, "names a channel twice"),
        ({"participants": ["a", "b", "c"]}, "must be a mapping of array to participant"),
        ({"config": HMMConfig(n_states=2)}, "must be a DatasetConfig"),
        ({"device": "gpu"}, "device is 'gpu', but must be cpu or the kind of an accelerator, as cuda or cuda:<number>"),
    ],
)
def test_settings_of_arrays_are_checked(settings, sentence):
    with pytest.raises(DynmlError, match=sentence):
        MultiSubjectDataset.from_arrays(ARRAYS, **settings)


def test_a_dataset_is_opened_by_a_path_and_subsets_by_name(dataset):
    with pytest.raises(ConfigurationError, match="hdf5_file is an object of the type list.*from_arrays"):
        MultiSubjectDataset(ARRAYS)
    with pytest.raises(DataError, match="0 is not a subset"):
        dataset.subset(0)
    with pytest.raises(ConfigurationError, match="path is None, but must be the path of an experiment"):
        dynml.load_experiment(None)


def test_a_model_asked_about_other_signals_says_so():
    model = GaussianHMM(HMMConfig(n_states=2), 4)
    borders = torch.tensor([0, 300])
    with pytest.raises(DataError, match=r"the shape \(300, 3\), but must be time x 4 channels"):
        model.posteriors(torch.zeros(300, 3), borders)
    with pytest.raises(DataError, match="starts must go from 0 to the number of samples"):
        model.most_likely_path(torch.zeros(200, 4), borders)
    with pytest.raises(ConfigurationError, match="must be a tensor"):
        model.posteriors(ARRAYS[0], borders)
    with pytest.raises(ConfigurationError, match="n_samples is '10'"):
        model.sample("10")


def test_arrays_far_from_standard_are_told_unless_a_standardization_is_given(recwarn):
    far = [1e4 + 30 * array for array in ARRAYS]
    with pytest.warns(DataWarning, match='not standardized.*standardization="per_run".*mean 1e.04') as told:
        MultiSubjectDataset.from_arrays(far)
    assert len(told) == 1
    recwarn.clear()
    MultiSubjectDataset.from_arrays(far, standardization="none")
    MultiSubjectDataset.from_arrays(far, standardization="per_run")
    MultiSubjectDataset.from_arrays(ARRAYS)
    assert not [warning for warning in recwarn if issubclass(warning.category, DataWarning)]
