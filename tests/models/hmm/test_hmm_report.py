"""Occupancies of the final report, beside one pass a subject."""

import numpy as np
import torch

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.hmm import report
from dynml.models.hmm.held_out import held_out_scores
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, e_step
from dynml.recording import recording_of_runs


def parameters(n_states=3, n_channels=2):
    generator = np.random.default_rng(0)
    means = torch.from_numpy(generator.normal(size=(n_states, n_channels)))
    covariances = torch.eye(n_channels, dtype=torch.float64).expand(n_states, -1, -1)
    transitions = torch.full((n_states, n_states), 0.1, dtype=torch.float64) + 0.7 * torch.eye(n_states)
    return GaussianHMMParameters(means, covariances, torch.full((n_states,), 1 / n_states), transitions)


def test_short_subjects_are_taken_together_with_the_numbers_of_each_alone(monkeypatch):
    generator, passes = np.random.default_rng(1), []
    runs = {
        f"s{number}": [generator.normal(size=(length + number, 2)).astype(np.float32) for length in (20, 5)]
        for number in range(12)
    }
    runs["s3"][1][4] = np.nan
    recordings = {name: recording_of_runs(pair, sampling_frequency=1.0) for name, pair in runs.items()}
    dataset = MultiSubjectDataset.from_arrays(recordings, standardization="none", missing="mask")
    subset, model = dataset.training_set, parameters()

    def counted(*arguments, **settings):
        passes.append(len(arguments[1]) - 1)
        return e_step(*arguments, **settings)

    monkeypatch.setattr(report, "e_step", counted)
    found = {}
    for rows_at_once in (10**6, 100, 7):
        passes.clear()
        monkeypatch.setattr(report, "ROWS_AT_ONCE", rows_at_once)
        found[rows_at_once] = report.occupancies_of(subset, model)
        assert sum(passes) == len(subset.segments)
        assert len(passes) == 1 or rows_at_once < 10**6
    for several in found.values():
        assert several.runs == [(subject, run) for subject in runs for run in ("run_0", "run_1")]
        for number, (subject, run) in enumerate(several.runs):
            signals = torch.from_numpy(runs[subject][int(run[-1])])
            alone = e_step(signals, torch.tensor([0, len(signals)]), model, posteriors=True)[2].numpy()
            alone = alone[np.isfinite(signals[:, 0].numpy())]
            np.testing.assert_allclose(several.weights[number], alone.sum(axis=0, dtype=np.float64), rtol=1e-6)
            assert several.visits[number] == 1 + np.count_nonzero(np.diff(alone.argmax(axis=1)))


def test_each_subject_is_asked_for_its_person_once(monkeypatch):
    arrays = {f"s{number}": np.random.default_rng(number).normal(size=(9, 2)) for number in range(8)}
    dataset = MultiSubjectDataset.from_arrays(arrays, standardization="per_run")
    asked, participant = [], dataset.participant
    monkeypatch.setattr(dataset, "participant", lambda subject: asked.append(subject) or participant(subject))
    assert report.occupancies_of(dataset.training_set, parameters()).people == list(arrays)
    assert asked == list(arrays)


def test_held_out_subjects_are_scored_by_the_mixture_of_the_report(make_trainer):
    trainer = make_trainer()
    trainer.train_and_validate()
    kept = held_out_scores(trainer, trainer.dataset.validation_set)
    assert trainer.mixture is not None
    trainer.mixture = None  # as where the run ended in another process
    assert held_out_scores(trainer, trainer.dataset.validation_set) == kept
