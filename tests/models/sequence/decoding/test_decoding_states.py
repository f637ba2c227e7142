"""States of a pre-trained HMM or DyNeMo as features of the linear answer."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from decoding_data import RATE, configs_of, dataset_of, described, trainer_of
from torch.distributions import MultivariateNormal

from dynml import MultiSubjectDataset
from dynml.cli.outputs.decoders.trials import about_decoding
from dynml.configuration import config_to_dictionary
from dynml.dataset.config import DatasetConfig
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.models.dynemo.config import DynemoConfig
from dynml.models.dynemo.inference import infer as infer_dynemo
from dynml.models.dynemo.model import Dynemo
from dynml.models.experiment import load_experiment
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.inference import long_run_probabilities, states_of_stretch
from dynml.models.hmm.model import GaussianHMM
from dynml.models.sequence.decoding.answer import choice
from dynml.models.sequence.decoding.answer.features import course_of_states, state_transitions
from dynml.models.sequence.decoding.answer.pretrained_states import load_state_model
from dynml.models.sequence.decoding.answer.state_model import StateModel
from dynml.models.sequence.decoding.answer.worth_of_states import finding_of_states
from dynml.models.sequence.decoding.evaluation import logits_of, windows_of_trials
from dynml.models.sequence.decoding.inference import decode
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.recording import Events, Source, recording_of_runs
from dynml.report.experiment import read_reported_experiment
from dynml.report.page import ReportInput, report_page
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")

LENGTH, N_TRIALS = 12, 24
COVARIANCES = np.array([[[1.0, 0.9], [0.9, 1.0]], [[1.0, -0.9], [-0.9, 1.0]]])


@pytest.fixture(scope="module", autouse=True)
def few_penalties():
    """Fewer regressions to choose from take less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "PENALTIES", (1e-2, 1.0))
        yield


def ordered(seed, *, numbers=False):
    """Trials of two states, half of the time each; which one comes first is the class. No mean, power or covariance of
    a whole trial differs."""
    generator = np.random.default_rng(seed)
    first = generator.permutation(np.arange(N_TRIALS) % 2)
    states = np.stack([first, 1 - first], axis=1).repeat(LENGTH // 2, axis=1).ravel()
    signals = np.einsum("tij,tj->ti", np.linalg.cholesky(COVARIANCES)[states], generator.normal(size=(len(states), 2)))
    names = ("0.5", "1.5") if numbers else ("correlated", "opposed")
    events = Events(
        onset=np.arange(N_TRIALS) * LENGTH,
        duration=np.full(N_TRIALS, LENGTH),
        labels={"stimulus": first.astype(np.int64)},
        names={"stimulus": names},
    )
    source = Source(file=f"{seed}.npy", n_bytes=1, sha256=f"sha-of-{seed}")
    return recording_of_runs([signals], sampling_frequency=RATE, events=events, sources=[source])


def ordered_dataset(
    n_training=3, n_validation=1, n_testing=1, *, names="abcdefgh", first_seed=0, config=None, **settings
):
    seeds, people = iter(range(first_seed, first_seed + 50)), iter(names)
    counts = n_training, n_validation, n_testing
    parts = [{f"sub-{next(people)}": ordered(next(seeds), **settings) for _ in range(count)} for count in counts]
    return MultiSubjectDataset.from_arrays(*parts, standardization="per_run", config=config)


def hmm_of(means, covariances, transitions, initial=(1.0, 0.0)):
    model = GaussianHMM(HMMConfig(n_states=2), n_channels=np.shape(means)[1])
    values = (torch.tensor(np.array(one), dtype=torch.float64) for one in (means, covariances, initial, transitions))
    model.set_parameters(GaussianHMMParameters(*values))
    return model


def saved(folder, model, dataset, family="hmm", name="states"):
    """An experiment folder with a model as it is."""
    parameters = {"family": family, "model": config_to_dictionary(model.config), "dataset": described(dataset)}
    experiment = ExperimentFolder(folder, name)
    experiment.path.mkdir()
    experiment.input_transform = {} if dataset.embedding is None else dataset.embedding.tensors()
    experiment.save_best_model(model.state_dict(), parameters, {})
    return str(experiment.path)


@pytest.fixture(scope="module")
def others():
    return ordered_dataset(2, 0, 0, names="xyz", first_seed=40)


@pytest.fixture(scope="module")
def hmm():
    return hmm_of(np.zeros((2, 2)), COVARIANCES, [[0.9, 0.1], [0.1, 0.9]])


def test_states_of_a_trial_are_those_of_all_paths_that_begin_as_in_the_long_run():
    transitions = np.array([[0.9, 0.1], [0.3, 0.7]])
    means, covariances = np.array([[0.0, 0.0], [1.0, -1.0]]), np.array([np.eye(2), [[1.0, 0.5], [0.5, 2.0]]])
    model = hmm_of(means, covariances, transitions)
    signals = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    densities = np.stack(
        [MultivariateNormal(*map(torch.from_numpy, of_state)).log_prob(signals) for of_state in zip(means, covariances)]
    )
    densities[:, 2] = 0.0  # not observed
    expected = np.zeros((5, 2))
    for path in itertools.product(range(2), repeat=5):
        chain = np.array([0.75, 0.25])[path[0]] * np.prod([transitions[a, b] for a, b in itertools.pairwise(path)])
        expected[range(5), path] += chain * np.exp(sum(densities[state, time] for time, state in enumerate(path)))
    expected /= expected.sum(axis=1, keepdims=True)
    signals[2] = torch.nan
    np.testing.assert_allclose(states_of_stretch(model, signals), expected, atol=1e-6)


def test_the_long_run_of_a_chain():
    matrix = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.8, 0.2], [0.1, 0.0, 0.9]], dtype=torch.float64)
    found = long_run_probabilities(matrix)
    torch.testing.assert_close(torch.linalg.matrix_power(matrix, 500)[0], found)
    torch.testing.assert_close(long_run_probabilities(torch.eye(3).double()), torch.full((3,), 1 / 3).double())


def test_features_of_a_path_are_counts():
    path = torch.tensor([0, 0, 1, 1, 1, 2])
    states = torch.eye(3, dtype=torch.float64)[path]
    np.testing.assert_allclose(course_of_states(states, 2), [2 / 3, 1 / 3, 0, 0, 2 / 3, 1 / 3])
    counts = np.array([[1, 1, 0], [0, 2, 1], [0, 0, 0]])
    np.testing.assert_allclose(state_transitions(states), counts.ravel() / 5)
    states[0] = torch.nan
    np.testing.assert_allclose(course_of_states(states, 1), [1 / 5, 3 / 5, 1 / 5])
    np.testing.assert_allclose(state_transitions(states), np.array([[0, 1, 0], [0, 2, 1], [0, 0, 0]]).ravel() / 4)
    assert not state_transitions(states[:1]).any()


def test_modes_of_dynemo_are_those_that_it_infers_of_a_segment_of_its_own(tmp_path):
    torch.manual_seed(0)
    dataset = ordered_dataset(1, 1, 1)
    model = Dynemo(DynemoConfig(n_modes=3, sequence_length=30, inference_n_units=4, model_n_units=4), 2)
    path = saved(tmp_path, model, ordered_dataset(1, 0, 0, names="x", first_seed=40), "dynemo")
    config = configs_of(dataset, path, linear_answer="best")["model"]
    assert (config.backbone, config.state_model["family"], config.state_model["n_channels"]) == ("linear", "dynemo", 2)
    states = StateModel(config.state_model)
    load_state_model(states, path)
    assert states.n_states == 3
    assert not any(one.requires_grad for one in states.parameters())
    subset = dataset.training_set
    signals = subset.rows(0, 0, subset.n_rows)
    found = states.train()(signals.double(), torch.ones(len(signals), dtype=torch.bool))
    (expected,) = infer_dynemo(model, subset)
    np.testing.assert_allclose(found, expected.alpha, atol=1e-6)
    assert states(signals[:1].double(), torch.ones(1, dtype=torch.bool)).shape == (1, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, hmm, others):
    folder, dataset = tmp_path_factory.mktemp("states"), ordered_dataset()
    path = saved(folder, hmm, others)
    settings = {"max_epochs": 1, "inner_folds": 1}
    trainer = trainer_of(dataset, folder, linear_answer="best", pretrained=path, trainer=settings)
    return folder, dataset, trainer, trainer.train_and_validate()


def test_a_report_says_of_a_model_within_the_model_what_it_is(finished):
    page = report_page(ReportInput(experiment=read_reported_experiment(finished[2].folder.path), results=[]))
    assert "<dt>state model</dt><dd>hmm</dd>" in page
    assert "{&#39;" not in page


def test_an_order_of_states_that_nothing_else_shows_is_decoded(finished):
    summary = finished[3]
    assert summary["score"]["validation"] > 0.95
    for name in ("majority", "linear", "functional_connectivity", "without_states"):
        assert summary["baselines"][name]["validation"] < 0.8, name
    found = summary["linear_answer"]
    assert found["kinds"]["states"]["weight"] + found["kinds"]["state_transitions"]["weight"] > 0.6
    assert found["states"]["used"]
    assert found["states"]["gain"] > 5 * found["states"]["standard_error_of_gain"]
    assert found["states"]["held_out_without"]["accuracy"] < 0.8
    assert found["states"]["held_out_with"]["accuracy"] > 0.95
    (told,) = [one for one in summary["findings"] if "states of" in one]
    assert "gives the weight" in told
    assert "accuracy from" in told
    assert summary["pretraining_overlap"]["subjects"] == []


def test_without_states_the_answer_is_that_of_a_decoder_that_knows_none(finished, tmp_path):
    _, dataset, trainer, _ = finished
    plain = trainer_of(dataset, tmp_path, linear_answer="best", trainer={"inner_folds": 0})
    plain.initialize()
    answer = trainer.model.answer
    (windows,) = windows_of_trials(trainer.trials("testing"), torch.device("cpu"))
    assert torch.equal(answer.logits(windows, answer.without_states_FK), plain.model.answer(windows))


def test_states_that_gain_no_more_than_a_standard_error_are_not_used(tmp_path, others):
    generator = np.random.default_rng(0)
    unrelated = hmm_of(generator.normal(size=(2, 2)), np.stack([np.eye(2)] * 2), [[0.5, 0.5], [0.5, 0.5]])
    dataset, path = ordered_dataset(), saved(tmp_path, unrelated, others)
    trainer = trainer_of(dataset, tmp_path, linear_answer="best", pretrained=path, trainer={"inner_folds": 0})
    trainer.initialize()
    answer, found = trainer.model.answer, trainer._answer_report
    assert found["states"]["gain"] <= found["states"]["standard_error_of_gain"]
    assert not found["states"]["used"]
    assert torch.equal(answer.weights_FK, answer.without_states_FK)
    assert found["kinds"]["states"]["weight"] == 0
    assert "does not use the states of here" in finding_of_states(found, "here")[0]


def test_a_trained_decoder_needs_the_model_of_its_states_no_more(finished, tmp_path):
    folder, dataset, trainer, _ = finished
    shutil.copytree(folder / "run", tmp_path / "run")  # and nothing else
    decoded = decode(load_experiment(tmp_path / "run"), dataset, ["testing"])
    expected = torch.cat(logits_of(trainer.model, trainer.trials("testing"))).softmax(dim=1)
    np.testing.assert_array_equal(decoded.predictions["testing"].probabilities, expected)
    assert decoded.predictions["testing"].accuracy > 0.95
    assert decoded.baselines["without_states"].accuracy(trainer.trials("testing")) < 0.8


def test_a_run_that_goes_on_ends_as_one_that_did_not_stop(tmp_path, hmm, others):
    dataset, path = ordered_dataset(2, 1, 0), saved(tmp_path, hmm, others)
    settings = {"max_epochs": 2, "inner_folds": 0}
    whole = trainer_of(dataset, tmp_path, "whole", linear_answer="best", pretrained=path, trainer=settings)
    whole.train_and_validate()
    for epochs, resume in ((1, "refuse"), (2, "auto")):
        settings |= {"max_epochs": epochs}
        part = trainer_of(
            dataset, tmp_path, "part", linear_answer="best", pretrained=path, trainer=settings, resume=resume
        )
        part.train_and_validate()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(part.model.state_dict()[name], tensor), name
    for name, tensor in hmm.state_dict().items():
        assert torch.equal(part.model.answer.states.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("target_values", ["numbers", "labels"])
def test_numbers_and_labels_of_states(tmp_path, hmm, others, target_values):
    dataset = ordered_dataset(2, 1, 1, numbers=target_values == "numbers")
    settings = {"max_epochs": 1, "inner_folds": 0}
    trainer = trainer_of(
        dataset,
        tmp_path,
        linear_answer="best",
        pretrained=saved(tmp_path, hmm, others),
        target_values=target_values,
        trainer=settings,
    )
    summary = trainer.train_and_validate()
    assert summary["score"]["validation"] > 0.75
    assert summary["baselines"]["without_states"]["validation"] < 0.7
    assert any("gives the weight" in one for one in summary["findings"])
    decoded = decode(load_experiment(tmp_path / "run"), dataset, ["testing"])
    assert "without_states" in decoded.baselines


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fine_tuning": "frozen"}, "model.fine_tuning is 'frozen', but must be absent: .*states is of hmm, whose"),
        ({"linear_answer": "none"}, "model.linear_answer is 'none', but must be absent"),
        ({"embedder_from_pretrained": False}, "model.embedder_from_pretrained is False, but must be absent"),
    ],
)
def test_settings_that_states_have_no_use_for_are_refused(tmp_path, hmm, others, settings, message):
    path = saved(tmp_path, hmm, others)
    with pytest.raises(ConfigurationError, match=message):
        configs_of(ordered_dataset(), path, **{"linear_answer": "best"} | settings)


def test_states_of_other_channels_or_another_rate_are_refused(tmp_path, hmm, others):
    path = saved(tmp_path, hmm, others)
    with pytest.raises(ConfigurationError, match="a model of 4 channels as the data \\(it has 2\\)"):
        configs_of(dataset_of(2, 1, 1), path, linear_answer="best")
    faster = {f"sub-{n}": recording_at(n, 2 * RATE) for n in range(2)}
    with pytest.raises(DataError, match="prepared differently .*sampling"):
        trainer_of(MultiSubjectDataset.from_arrays(faster), tmp_path, linear_answer="best", pretrained=path)


def recording_at(seed, rate):
    item = ordered(seed)
    return recording_of_runs([item.signals], sampling_frequency=rate, events=item.events, sources=item.sources)


def test_states_that_saw_a_testing_participant_or_file_are_refused_unless_allowed(tmp_path, hmm):
    path = saved(tmp_path, hmm, ordered_dataset(1, 0, 0, names="e", first_seed=40))
    with pytest.raises(ConfigurationError, match="participants sub-e \\(1 of 1 subjects\\); --allow_overlap"):
        configs_of(ordered_dataset(), path, linear_answer="best")
    assert configs_of(ordered_dataset(), path, linear_answer="best", allow_overlap=True)["model"].state_model
    by_file = saved(tmp_path, hmm, ordered_dataset(1, 0, 0, names="x", first_seed=4), name="by_file")
    with pytest.raises(ConfigurationError, match="it saw 1 source files"):
        configs_of(ordered_dataset(), by_file, linear_answer="best")


def test_trials_go_through_the_embedding_of_the_model_of_states(tmp_path):
    embeds = DatasetConfig(n_embeddings=5, n_components=3)
    embedded, plain = ordered_dataset(2, 1, 1, config=embeds), ordered_dataset(2, 1, 1)
    model = hmm_of(np.array([[0.5, 0.0, 0.0], [-0.5, 0.3, 0.0]]), np.stack([np.eye(3)] * 2), [[0.9, 0.1], [0.2, 0.8]])
    path = saved(tmp_path, model, embedded)
    settings = {"linear_answer": "best", "pretrained": path, "trainer": {"max_epochs": 1, "inner_folds": 0}}
    trainer = trainer_of(plain, tmp_path, **settings)
    trainer.train_and_validate()
    rows = plain.training_set.rows(0, 40, 60)
    states = load_experiment(tmp_path / "run").model.answer.states
    found = states(rows.double(), torch.ones(20, dtype=torch.bool))
    assert found[[0, 1, 18, 19]].isnan().all()
    expected = states_of_stretch(model, embedded.training_set.rows(0, 42, 58))
    np.testing.assert_allclose(found[2:18], expected, atol=1e-4)
    assert states(rows[:4].double(), torch.ones(4, dtype=torch.bool)).isnan().all()
    assert configs_of(embedded, path, linear_answer="best")["model"].state_model["embedding"] is None
    scaled = DatasetConfig(n_embeddings=5, n_components=3, standardize_components=True)
    by_run = saved(tmp_path, model, ordered_dataset(2, 1, 1, config=scaled), name="by_run")
    with pytest.raises(DataError, match="dataset.n_embeddings is 5 in the training data and None here"):
        trainer_of(plain, tmp_path, "other", **settings | {"pretrained": by_run})


def test_a_network_from_scratch_may_stand_beside_states(tmp_path, hmm, others):
    path = saved(tmp_path, hmm, others)
    sizes = {"embedding_dim": 16, "n_layers": 1, "n_positions": 64}
    config = configs_of(ordered_dataset(), path, linear_answer="best", backbone="csm", **sizes)["model"]
    assert (config.backbone, config.backbone_settings) == ("csm", None)
    again = configs_of(ordered_dataset(), path, **{name: getattr(config, name) for name in vars(config)})["model"]
    assert again == config


def test_whom_the_model_of_states_has_seen_is_told_when_they_are_scored(finished, hmm, tmp_path):
    """Training trials may be seen; validation subjects and those scored later are named, testing subjects refused."""
    _, dataset, trainer, _ = finished
    (held_out,) = dataset.validation_set.subjects
    seen = MultiSubjectDataset.from_arrays({held_out: ordered(70)}, standardization="none")
    path = saved(tmp_path, hmm, seen)
    later = MultiSubjectDataset.from_arrays([ordered(71)], [], {held_out: ordered(72)}, standardization="none")
    with pytest.warns(DataWarning, match=rf"1 of 1 validation subjects \({held_out}\) were among those that the pre-"):
        configs_of(dataset, path, linear_answer="best")
    with pytest.raises(ConfigurationError, match="has not seen the testing subset"):
        configs_of(later, path, linear_answer="best")
    experiment = load_experiment(trainer.folder.path)
    assert about_decoding(experiment, dataset, "testing")["subjects_seen_in_pretraining"] == []
    experiment.parameters["pretrained"] = path
    with pytest.warns(DataWarning, match="1 of 1 testing subjects .* from; their scores are not about new"):
        assert about_decoding(experiment, later, "testing")["subjects_seen_in_pretraining"] == [held_out]
    experiment.parameters["pretrained"] = str(tmp_path / "gone")
    assert about_decoding(experiment, later, "testing")["subjects_seen_in_pretraining"] is None
