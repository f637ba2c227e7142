import warnings

import numpy as np
import pytest
import torch
from decoding_data import RATE, TRIAL, configs_of, dataset_of, recording, small, trainer_of

from dynml import MultiSubjectDataset
from dynml.analysis.log_expressions import parse_log_expression
from dynml.analysis.log_reading import read_experiment
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.cli.commands.train import _last_words as last_words
from dynml.cli.outputs.run_figures import figures_of_run
from dynml.errors import DataError, DataWarning
from dynml.models.experiment import load_experiment
from dynml.models.sequence.decoding.answer import network_share as network_share_module
from dynml.models.sequence.decoding.answer.choice import Problem, Variant, coefficients, held_out_scores, standard_error
from dynml.models.sequence.decoding.answer.features import (
    FeatureLayout,
    bands_within,
    connectivity,
    course,
    log_power,
    noise_normalizations,
    shrunk,
    spectra,
    tangent,
    waves_of,
    whitening,
)
from dynml.models.sequence.decoding.answer.network_share import decided, folds_to_try
from dynml.models.sequence.decoding.evaluation import predictions_of, windows_of_trials
from dynml.models.sequence.decoding.findings import share_findings
from dynml.models.sequence.decoding.inference import decode
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Target
from dynml.models.sequence.features.attribution import attribution_maps
from dynml.models.sequence.windows import Windows
from dynml.plotting.logs import LogGraph, plot_logs
from dynml.recording import Events, recording_of_runs

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")


def problem_of(truth, groups=None, folds=()):
    truth = np.asarray(truth)
    n_classes = int(truth.max()) + 1
    own = np.arange(len(truth)) if groups is None else np.asarray(groups)
    return Problem(
        truth, np.ones(len(truth)), np.log(np.bincount(truth) / len(truth)) + np.zeros(n_classes), own, folds
    )


def padded(lengths, n_times):
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(n_times) < torch.tensor(lengths)[:, None]
    signals = torch.randn(len(lengths), max(lengths), 4, generator=generator)
    signals = torch.nn.functional.pad(signals, (0, 0, 0, n_times - max(lengths)))
    seconds = torch.arange(n_times, dtype=torch.float64).expand(len(lengths), -1) / RATE
    return Windows(signals * mask[:, :, None], mask, seconds, torch.zeros(len(lengths), dtype=torch.int64))


def test_ridges_are_those_of_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(0)
    truth = np.arange(24) % 3
    for n_features in (7, 40):
        inputs = generator.normal(3.0, 2.0, size=(24, n_features))
        weights, centre = coefficients(Variant(inputs), problem_of(truth), [0.1, 1.0])
        for number, penalty in enumerate((0.1, 1.0)):
            scaled = StandardScaler().fit_transform(inputs)
            ridge = Ridge(alpha=penalty * max(24, n_features)).fit(scaled, np.eye(3)[truth])
            expected = ridge.predict(scaled) - 1 / 3
            np.testing.assert_allclose((inputs - centre) @ weights[number], expected, atol=1e-10)


def test_ridges_on_turned_channels_are_those_on_features_turned_by_hand():
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(3)
    truth, axes = np.arange(24) % 3, generator.normal(size=(4, 4))
    for n_parts in (2, 10):
        inputs = generator.normal(3.0, 2.0, size=(24, n_parts, 4))
        turned = np.stack([[axes.T @ part for part in trial] for trial in inputs]).reshape(24, -1)
        turned /= np.sqrt(turned.var(axis=0).mean())
        ridge = Ridge(alpha=0.1 * max(24, 4 * n_parts)).fit(turned, np.eye(3)[truth])
        flat = inputs.reshape(24, -1)
        weights, centre = coefficients(Variant(flat, axes), problem_of(truth), [0.1])
        np.testing.assert_allclose((flat - centre) @ weights[0], ridge.predict(turned) - 1 / 3, atol=1e-10)


def test_normalized_channels_have_noise_that_is_alike_whatever_their_units():
    generator = np.random.default_rng(4)
    mixing = generator.normal(size=(3, 3)) * np.array([1e-13, 1.0, 1e6])
    signals = generator.normal(size=(40, 50, 3)) @ mixing + generator.normal(size=(40, 1, 3)) * mixing.diagonal()
    signals = np.concatenate([signals, np.ones((40, 50, 1))], axis=2)
    known = torch.arange(50) < 48
    trials = [(torch.from_numpy(one), known, 100.0) for one in signals]
    alone, together = (axes.numpy() for axes in noise_normalizations(trials))
    within = signals[:, :48] - signals[:, :48].mean(axis=1, keepdims=True)
    assert (alone[3] == 0).all()
    assert (together[3] == 0).all()
    np.testing.assert_allclose((within @ alone)[..., :3].reshape(-1, 3).std(axis=0), 1.0, rtol=1e-9)
    correlations = np.corrcoef((within @ together)[..., :3].reshape(-1, 3).T)
    assert np.abs(correlations - np.eye(3)).max() < 0.15
    assert np.abs(np.corrcoef(within[..., :3].reshape(-1, 3).T) - np.eye(3)).max() > 0.5
    assert torch.equal(noise_normalizations([(trials[0][0], known & False, 100.0)])[0], torch.eye(4).double())
    short = [(torch.from_numpy(one[:1]), known[:1], 100.0) for one in signals]
    (given,) = noise_normalizations(short)
    np.testing.assert_allclose((signals[:, 0] @ given.numpy())[:, :3].std(axis=0), 10.0)


def test_held_out_trials_have_no_part_in_what_is_said_of_them():
    generator = np.random.default_rng(1)
    truth, inputs = np.arange(20) % 2, generator.normal(size=(20, 60))
    folds = [(np.arange(10, 20), np.arange(10)), (np.arange(10), np.arange(10, 20))]
    before = held_out_scores(Variant(inputs), problem_of(truth, folds=folds), [0.1])[0]
    turned = truth.copy()
    turned[:10] = 1 - turned[:10]
    after = held_out_scores(Variant(inputs), problem_of(turned, folds=folds), [0.1])[0]
    np.testing.assert_array_equal(before[:10], after[:10])
    assert not np.allclose(before[10:], after[10:])
    in_sample = (inputs - inputs.mean(0)) @ coefficients(Variant(inputs), problem_of(truth), [1e-4])[0][0]
    assert (in_sample.argmax(1) == truth).all()


def test_the_standard_error_is_that_of_means_of_groups():
    values = np.random.default_rng(2).normal(size=12)
    assert standard_error(values, np.arange(12)) == pytest.approx(values.std(ddof=1) / np.sqrt(12))
    means = values.reshape(4, 3).mean(axis=1)
    assert standard_error(values, np.repeat(np.arange(4), 3)) == pytest.approx(means.std(ddof=1) / 2)
    assert standard_error(values, np.zeros(12)) == np.inf


@pytest.mark.parametrize(
    ("seed", "effect", "kept"), [(0, 0.0, False), (1, 0.0, False), (2, 0.0, False), (0, 1.5, True)]
)
def test_a_network_stays_only_where_left_out_trials_bear_it_out(seed, effect, kept):
    generator = np.random.default_rng(seed)
    truth = np.arange(60) % 2
    answered = np.zeros((60, 2))
    added = generator.normal(size=(10, 60, 2)) + effect * (np.eye(2)[truth] - 0.5)
    found = decided(added, answered, problem_of(truth), np.arange(60) // 12)
    assert (found.share > 0) == kept
    assert 1 <= found.epochs <= 10


def test_the_curves_of_left_out_trials_say_when_to_stop():
    truth = np.arange(60) % 2
    good = 2.0 * (np.eye(2)[truth] - 0.5)
    curves = np.stack([0.2 * good, good, -good])
    found = decided(curves, np.zeros((60, 2)), problem_of(truth), np.arange(60) // 12)
    assert (found.epochs, found.share) == (2, 1.0)


def test_features_against_what_they_are_by_hand():
    generator = torch.Generator().manual_seed(0)
    layout = FeatureLayout(3, 200, ((8.0, 13.0),))
    times = torch.arange(200, dtype=torch.float64) / 100
    signals = 0.01 * torch.randn(200, 3, dtype=torch.float64, generator=generator)
    signals[:, 0] += torch.cos(2 * torch.pi * 10 * times)
    signals[:, 1] += torch.sin(2 * torch.pi * 10 * times)
    known = torch.ones(200, dtype=torch.bool)
    np.testing.assert_allclose(course(signals, known, 4), signals.reshape(4, 50, 3).mean(1).flatten(), atol=1e-12)
    found = spectra(waves_of(signals, 100.0), layout, torch.eye(3, dtype=torch.float64))
    powers = log_power(found).reshape(2, 3)
    np.testing.assert_allclose(powers[0], np.log(np.var(signals.numpy(), axis=0)), atol=1e-9)
    assert powers[1, 0] - powers[1, 2] > 5
    z = connectivity(found).reshape(3, 3)  # pairs 01, 02, 12 of correlations, real and imaginary parts of coherency
    np.testing.assert_allclose(z[0], np.arctanh(np.corrcoef(signals.numpy().T)[np.triu_indices(3, 1)]), atol=1e-9)
    assert abs(z[2, 0]) > 2
    assert abs(z[1, 0]) < 0.2
    covariance = shrunk(found)
    values = tangent(covariance, whitening(covariance[None]))
    np.testing.assert_allclose(values, 0.0, atol=1e-8)
    assert waves_of(signals[:2], 100.0) is None
    assert spectra(waves_of(signals[:4], 100.0), layout, torch.eye(3, dtype=torch.float64)) is None


def test_bands_are_those_that_rates_and_trials_allow():
    assert bands_within([0.4], 9) == []
    assert [8.0, 13.0] in bands_within([100.0, 250.0], 250)
    assert [55.0, 90.0] not in bands_within([100.0, 250.0], 250)


def test_the_answer_of_a_trial_depends_on_no_other_and_not_on_padding():
    dataset = dataset_of(2, 1, 0)
    model = Decoding(configs_of(dataset, linear_answer="best", **small("csm"))["model"], 4).eval()
    torch.nn.init.normal_(model.answer.weights_FK)
    windows, alone = (padded([TRIAL, 7, 2], n_times) for n_times in (TRIAL, TRIAL + 5))
    assert torch.equal(model(windows), model(alone))
    assert torch.isfinite(model(windows)).all()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer")
    dataset = dataset_of(3, 1, 1, effect=0.7)
    settings = {"max_epochs": 2, "inner_folds": 2}
    trainer = trainer_of(dataset, folder, linear_answer="best", trainer=settings, **small("csm"))
    return folder, dataset, trainer, trainer.train_and_validate()


def test_without_a_share_of_the_network_the_result_is_the_answer_to_the_bit(finished):
    _, _, trainer, summary = finished
    model, answered = trainer.model, summary["linear_answer"]
    assert answered["network"]["share"] == float(model.network_share)
    assert set(answered["kinds"]) == {"course", "power", "tangent_space", "connectivity"}
    trials = trainer.trials("testing")
    model.network_share.fill_(0.0)
    torch.nn.init.normal_(model.head.weight)
    alone = predictions_of(model, trials).probabilities
    (windows,) = windows_of_trials(trials, torch.device("cpu"))
    np.testing.assert_array_equal(alone, model.answer(windows).double().softmax(dim=1).numpy())


def test_what_is_saved_answers_the_same_to_the_bit(finished):
    folder, dataset, trainer, _ = finished
    experiment = load_experiment(folder / "run")
    found = decode(experiment, dataset, ["testing"]).predictions["testing"]
    again = decode(load_experiment(folder / "run"), dataset, ["testing"]).predictions["testing"]
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    for name, tensor in trainer.model.answer.state_dict().items():
        assert torch.equal(tensor, experiment.model.answer.state_dict()[name]), name


def test_a_resumed_run_has_the_same_answers_of_trials_that_were_left_out(finished, tmp_path):
    _, dataset, trainer, _ = finished
    state = trainer.family_state()
    assert set(state["answered"]) == {"training", "validation"}
    other = trainer_of(dataset, tmp_path, linear_answer="best", trainer={"inner_folds": 0}, **small("csm"))
    other.load_family_state(state)
    trainer.batch_sampler.set_context("training")
    trainer.batch_loader.set_context("training")
    batch = next(trainer.batch_loader.iterate(trainer.batch_sampler, 0))
    expected = trainer._answered["training"].logits_of(batch)
    assert torch.equal(other._answered["training"].logits_of(batch), expected)
    assert len(set(trainer._answered["training"].fold_of(batch).tolist())) > 1


def test_power_that_no_course_shows_is_decoded(tmp_path):
    def item(seed):
        generator = np.random.default_rng(seed)
        labels = generator.permutation(np.arange(40) % 2)
        runs = [generator.normal(size=(40 * 20, 2))]
        for trial, label in enumerate(labels):
            runs[0][20 * trial : 20 * (trial + 1), label] *= 3.0
        events = Events(
            onset=np.arange(40) * 20,
            duration=np.full(40, 20),
            labels={"stimulus": labels.astype(np.int64)},
            names={"stimulus": ("a", "b")},
        )
        return recording_of_runs(runs, sampling_frequency=RATE, events=events)

    dataset = MultiSubjectDataset.from_arrays({"a": item(0), "b": item(1)}, {"c": item(2)})
    settings = {"max_epochs": 1, "inner_folds": 0}
    trainer = trainer_of(dataset, tmp_path, backbone="linear", linear_answer="best", trainer=settings)
    summary = trainer.train_and_validate()
    assert summary["score"]["validation"] > 0.9
    assert summary["baselines"]["linear"]["validation"] < 0.75


def test_classes_below_noise_that_channels_share_are_decoded_from_whitened_channels(tmp_path):
    from sklearn.linear_model import RidgeClassifier

    generator = np.random.default_rng(0)
    mixing, pattern = 2.0 * generator.normal(size=(60, 80)), 0.3 * generator.normal(size=80)

    def item(n_trials):
        labels = np.arange(n_trials) % 2
        signals = generator.normal(size=(n_trials, 20, 60)) @ mixing + generator.normal(size=(n_trials, 20, 80))
        signals += (labels - 0.5)[:, None, None] * pattern
        onset, duration = np.arange(n_trials) * 20, np.full(n_trials, 20)
        events = Events(onset=onset, duration=duration, labels={"stimulus": labels}, names={"stimulus": ("a", "b")})
        runs = [signals.reshape(-1, 80)]
        return signals.mean(axis=1), labels, recording_of_runs(runs, sampling_frequency=RATE, events=events)

    (means, labels, learnt), (new, truth, held_out) = item(60), item(300)
    trainer = trainer_of(
        MultiSubjectDataset.from_arrays({"a": learnt}, {"b": held_out}),
        tmp_path,
        backbone="linear",
        linear_answer="best",
        trainer={"inner_folds": 0},
    )
    trainer.initialize()
    trainer.model.network_share.fill_(0.0)
    plain = max(RidgeClassifier(alpha=a).fit(means, labels).score(new, truth) for a in np.geomspace(1e-3, 1e5, 9))
    assert plain < 0.7
    assert predictions_of(trainer.model, trainer.trials("validation")).accuracy > 0.78


def test_rare_classes_and_imbalance_are_said():
    rare = recording(0, classes=("house", *("face",) * 7), n_runs=1)
    dataset = MultiSubjectDataset.from_arrays([rare], [recording(1)])
    with pytest.warns(DataWarning) as caught:
        configs_of(dataset, linear_answer="best")
    told = " ".join(str(one.message) for one in caught)
    assert "only one training trial" in told
    assert "house (1)" in told
    assert "88% of the training trials are of the class face" in told


def test_of_many_trials_enough_groups_for_a_standard_error_are_left_out():
    fold = np.arange(2000) % 5
    assert folds_to_try(fold, fold, 5) == [0, 1, 2, 3]
    assert folds_to_try(fold, np.arange(2000), 5) == [0]
    assert folds_to_try(fold[:900], np.arange(900), 5) == [0, 1, 2, 3, 4]
    assert folds_to_try(fold, fold, 2) == [0, 1]


def test_epochs_in_which_a_network_broke_are_not_chosen():
    truth = np.arange(60) % 2
    good = 2.0 * (np.eye(2)[truth] - 0.5)
    curves = np.stack([np.full_like(good, np.nan), good, np.full_like(good, np.nan)])
    found = decided(curves, np.zeros((60, 2)), problem_of(truth), np.arange(60) // 12)
    assert (found.epochs, found.share) == (2, 1.0)
    assert decided(curves[:1], np.zeros((60, 2)), problem_of(truth), np.arange(60) // 12).share == 0.0


def test_folds_end_when_patience_is_over_and_know_nothing_of_each_other(tmp_path, monkeypatch):
    asked = {}
    original = network_share_module._one_fold

    def one_fold(run, model, held_out, fold, n_epochs):
        asked[fold] = 0
        for logits in original(run, model, held_out, fold, n_epochs):
            assert torch.is_grad_enabled()
            asked[fold] += 1
            yield np.zeros_like(logits) if asked[fold] > 1 else logits

    monkeypatch.setattr(network_share_module, "_one_fold", one_fold)
    settings = {"max_epochs": 30, "inner_folds": 2, "patience": 2}
    trainer = trainer_of(dataset_of(3, 1, 1), tmp_path, linear_answer="best", trainer=settings, **small("csm"))
    trainer.initialize()
    assert len(asked) == 2
    assert max(asked.values()) <= 5


def test_limits_end_a_run_before_the_folds_epochs(tmp_path):
    trainer = trainer_of(dataset_of(3, 1, 1), tmp_path, linear_answer="best", trainer={"max_epochs": 2}, **small("csm"))
    trainer._chosen_epochs = 5
    trainer.progress.epoch = 1
    assert trainer.stopping_reason() is None
    assert np.isfinite(trainer.monitored_value({"validation_loss": 1.0}))
    trainer.progress.epoch = 2
    assert trainer.stopping_reason() == "max_epochs"


def test_more_epochs_than_folds_had_are_said_to_have_no_effect(tmp_path):
    dataset, settings = dataset_of(3, 1, 1), {"max_epochs": 2, "inner_folds": 2}
    trainer = trainer_of(dataset, tmp_path / "a", linear_answer="best", trainer=settings, **small("csm"))
    trainer.initialize()
    state = trainer.family_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.load_family_state(state)
    more = trainer_of(dataset, tmp_path / "b", linear_answer="best", trainer={"max_epochs": 9}, **small("csm"))
    with pytest.warns(DataWarning, match="More epochs are not used"):
        more.load_family_state(state)


@pytest.mark.parametrize(("share", "kept"), [(0.0, "the linear answer alone"), (0.5, "the model after epoch 2, as")])
def test_what_no_epochs_value_has_chosen_is_not_called_best(share, kept, tmp_path, monkeypatch):
    report = {"share": share, "n_trials": 24, "gain": 0.0, "standard_error_of_gain": 0.1, "held_out_score": None}
    found = network_share_module.NetworkShare(2, share, report)
    monkeypatch.setattr("dynml.models.sequence.decoding.trainer.network_share", lambda *given: found)
    settings = {"max_epochs": 2, "inner_folds": 2}
    data = dataset_of(3, 0, 0)
    trainer = trainer_of(data, tmp_path, linear_answer="best", trainer=settings, **small("csm"))
    summary = trainer.train_and_validate()
    assert summary["kept"].startswith(kept)
    assert summary["best_epoch"] == (2 if share else 1)
    assert not [said for said in summary["findings"] if "best epoch" in said]
    words = last_words(summary, tmp_path)
    assert f"Kept: {kept}" in words
    assert "Best" not in words
    assert len(figures_of_run(trainer)["loss"].axes[0].lines) == 1
    logs = read_experiment(trainer.folder.path)
    assert (logs.best_epoch, logs.kept) == (None, summary["kept"])
    figure = plot_logs([logs], [LogGraph(title="", expressions=(parse_log_expression("training_loss", ""),))])
    assert figure.axes[0].get_xlabel() == "Epoch"
    assert figure.legends[0].get_texts()[0].get_text() == f"run (kept: {kept.removesuffix(', as')})"


def test_what_became_of_the_network_is_a_finding():
    network = {"share": 0.0, "n_trials": 60, "gain": 0.01, "standard_error_of_gain": 0.02}
    assert "by 0.01, with standard error 0.02" in share_findings({"network": network})[0]
    assert "of one participant" in share_findings({"network": network | {"standard_error_of_gain": None}})[0]
    assert "does not lower" in share_findings({"network": network | {"gain": -0.01}})[0]
    assert share_findings({"network": network | {"share": 0.5}}) == []
    assert "All of the network" in share_findings({})[0]
    assert share_findings(None) == []


def test_several_processes_say_that_folds_are_not_used(tmp_path, monkeypatch):
    trainer = trainer_of(dataset_of(3, 1, 1), tmp_path, linear_answer="best", **small("csm"))
    monkeypatch.setattr(type(trainer.processes), "are_several", property(lambda self: True))
    monkeypatch.setattr(type(trainer.processes), "from_first", lambda self, work: work())
    with pytest.warns(DataWarning, match="inner_folds"):
        trainer.initialize()
    assert trainer._chosen_epochs is None


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients"])
def test_what_has_no_gradient_is_not_attributed_in_silence(method):
    dataset = dataset_of(2, 1, 1)
    model = Decoding(configs_of(dataset, linear_answer="best", **small("csm"))["model"], 4).eval()
    trials = [
        Target.of(dataset, "stimulus").trials("testing", BatchSamplerConfig(trials="stimulus"), ["face", "house"])
    ]
    torch.nn.init.normal_(model.answer.weights_FK[model.answer.layout.slice_of("power")])
    torch.nn.init.normal_(model.head.weight)
    with pytest.warns(DataWarning, match="leave out what the linear answer reads in power"):
        attribution_maps(model, trials, method)
    model.network_share.fill_(0.0)
    with pytest.raises(DataError, match="by power of the trial alone"):
        attribution_maps(model, trials, method)


def test_trials_of_a_fold_have_no_part_in_what_is_learnt_without_them(tmp_path):
    dataset = dataset_of(5, 1, 1)
    trainer = trainer_of(dataset, tmp_path, linear_answer="best", trainer={"inner_folds": 0}, **small("csm"))
    trainer.initialize()
    participants = np.array(trainer.trials("training").participants)
    fold = trainer._answered["training"].fold_N.numpy()
    assert all(len(set(fold[participants == name])) == 1 for name in participants)
    trainer.model.eval()
    for batch in trainer.inner_batches(0):
        of_batch = trainer._answered["training"].fold_of(batch)
        for left_out in of_batch.unique().tolist():
            left = of_batch == left_out
            before = trainer.result_of(trainer.model, batch, left_out)
            batch.signals[left] += 100.0
            after = trainer.result_of(trainer.model, batch, left_out)
            assert float(before.n) == float((~left).sum())
            assert before.loss.item() == pytest.approx(after.loss.item(), rel=1e-6)


def with_late_signal(seed, n_trials=24):
    """Trials of two classes that differ in the sign of a wave of two cycles, whose mean is 0."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(n_trials) % 2)
    wave = np.sin(2 * np.pi * 2 * (np.arange(TRIAL) + 0.5) / TRIAL)
    signals = generator.normal(size=(n_trials * TRIAL, 4))
    for trial, label in enumerate(labels):
        signals[trial * TRIAL : (trial + 1) * TRIAL, 1] += (2 * label - 1) * wave
    events = Events(
        onset=np.arange(n_trials) * TRIAL,
        duration=np.full(n_trials, TRIAL),
        labels={"stimulus": labels},
        names={"stimulus": ("down", "up")},
    )
    return recording_of_runs([signals], sampling_frequency=RATE, events=events)


def test_the_network_of_weighted_means_is_as_fine_as_held_out_trials_want_it(tmp_path):
    people = {f"sub-{seed}": with_late_signal(seed) for seed in range(4)}
    dataset = MultiSubjectDataset.from_arrays(people, {"sub-9": with_late_signal(9)})
    trainer = trainer_of(dataset, tmp_path, linear_answer="best", backbone="linear", trainer={"max_epochs": 2})
    summary = trainer.train_and_validate()
    found, model = summary["linear_answer"], trainer.model
    n_bins = found["kinds"]["course"]["n_bins"]
    assert n_bins >= 4  # a mean over half a trial, or all of it, holds nothing
    assert found["linear_rank"] == min(n_bins, 8) == model.backbone.n_weightings
    loaded = load_experiment(tmp_path / "run").model
    assert loaded.backbone.n_weightings == found["linear_rank"]
    (windows,) = windows_of_trials(trainer.trials("validation"), torch.device("cpu"))
    unused = model.backbone.pooled(windows).unflatten(1, (8, 4))[:, found["linear_rank"] :]
    assert not unused.any()


def test_a_stated_number_of_weighted_means_is_kept():
    dataset = dataset_of(2, 1, 0)
    for rank, answer, expected in ((3, "best", 3), (None, "none", 1), (2, "none", 2)):
        config = configs_of(dataset, backbone="linear", linear_rank=rank, linear_answer=answer)["model"]
        model = Decoding(config, 4)
        model.backbone.use(7)
        assert model.backbone.n_weightings == expected == len(model.backbone.weights_RT)
    configs_of(dataset, **small("csm", linear_rank=1))  # as parameters.json of earlier decoders have it


def test_a_network_whose_last_training_went_wrong_is_told():
    network = {"share": 1.0, "n_trials": 160, "gain": 0.5, "standard_error_of_gain": 0.02, "held_out_score": 0.97}
    assert share_findings({"network": network}, training_score=0.99) == []
    (said,) = share_findings({"network": network}, training_score=0.49)
    assert "scores these 0.490" in said
    assert "had not seen 0.970" in said


def test_a_decision_holds_the_score_of_the_network_on_trials_that_it_has_not_seen():
    truth = np.arange(40) % 2
    problem = problem_of(truth)
    added = np.where(np.arange(40)[:, None] < 30, 1.0, -1.0) * (np.eye(2)[truth] - 0.5)
    report = decided(added[None], np.zeros((40, 2)), problem, np.arange(40) % 2).report
    assert report["share"] > 0
    assert report["held_out_score"] == 0.75
