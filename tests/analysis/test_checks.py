"""Checks of a model: surrogates that keep what they must, and verdicts on planted and absent dynamics."""

import dataclasses

import numpy as np
import pytest
import torch
from segments_making import recording_of

from dynml import GaussianHMM, HMMConfig, MultiSubjectDataset
from dynml.analysis.checks.covariates import covariate_verdicts, global_signal_verdict
from dynml.analysis.checks.dynamics import overall_verdict, surrogate, surrogate_verdict
from dynml.analysis.checks.halves import agreement, halves, halves_verdict
from dynml.analysis.checks.motion import MEASURED, with_measured_motion
from dynml.analysis.checks.occupancy import occupancy_verdicts
from dynml.analysis.checks.predictive import drawn_like, predictive_verdicts, summaries_of
from dynml.analysis.checks.stretches import SubjectStretches, dataset_of, stretches_of_subset
from dynml.analysis.checks.surrogates import (
    StationaryVAR,
    fitted_var,
    phase_randomized,
    spectral_radius,
    with_matching_ends,
)
from dynml.models.registry import get_family
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.training.data.subject_differences import Occupancies


def people(*stretches):
    return [SubjectStretches(f"sub-{n}", f"sub-{n}", 100.0, list(own)) for n, own in enumerate(stretches)]


@pytest.mark.parametrize("n_samples", [200, 201])
def test_random_phases_keep_all_cross_spectra_and_the_mean(n_samples):
    generator = np.random.default_rng(0)
    signals = np.cumsum(generator.normal(size=(n_samples, 3)), axis=0) + 5.0
    made = phase_randomized(signals, generator)
    before, after = np.fft.rfft(signals, axis=0), np.fft.rfft(made, axis=0)
    cross = [np.einsum("fi,fj->fij", one.conj(), one) for one in (before, after)]
    np.testing.assert_allclose(cross[1], cross[0], rtol=1e-9, atol=1e-9 * np.abs(cross[0]).max())
    np.testing.assert_allclose(made.mean(axis=0), signals.mean(axis=0))
    np.testing.assert_allclose(np.cov(made.T), np.cov(signals.T), rtol=1e-9)
    assert np.abs(np.corrcoef(made[:, 0], signals[:, 0])[0, 1]) < 0.9


def test_ends_match_after_trimming_and_short_stretches_stay():
    signals = np.random.default_rng(1).normal(size=(400, 2))
    kept = with_matching_ends(signals)
    assert 360 <= len(kept) <= 400
    assert np.abs(kept[0] - kept[-1]).max() < np.abs(signals[0] - signals[-1]).max()
    assert with_matching_ends(signals[:10]).shape == (10, 2)


def test_a_var_is_found_with_its_order():
    truth = StationaryVAR(
        np.array([1.0, -1.0]), np.array([[[0.5, 0.2], [0, 0.4]], [[-0.4, 0], [0.1, -0.3]]]), np.eye(2)
    )
    series = truth.draw(6000, np.random.default_rng(2))
    found = fitted_var([series[:2000], series[2000:]])
    assert found.order == 2
    np.testing.assert_allclose(found.coefficients_PCC, truth.coefficients_PCC, atol=0.06)
    np.testing.assert_allclose(found.noise_CC, np.eye(2), atol=0.08)
    assert fitted_var([np.random.default_rng(3).normal(size=(2000, 2))]).order == 0


def test_a_walk_is_made_stationary():
    walk = np.cumsum(np.random.default_rng(4).normal(size=(500, 2)), axis=0)
    found = fitted_var([walk])
    assert spectral_radius(found.coefficients_PCC) < 1
    assert np.isfinite(found.draw(2000, np.random.default_rng(0))).all()


def test_surrogates_keep_the_shape_and_are_a_function_of_the_seed():
    generator = np.random.default_rng(5)
    subjects = people(
        [generator.normal(size=(100, 2)), generator.normal(size=(60, 2))], [generator.normal(size=(80, 2))]
    )
    for kind in ("phases", "var"):
        first, again, other = (surrogate(kind, subjects, 0, number) for number in (0, 0, 1))
        assert [[len(own) for own in one.stretches] for one in first] == [[100, 60], [80]]
        np.testing.assert_array_equal(first[0].stretches[1], again[0].stretches[1])
        assert not np.array_equal(first[0].stretches[1], other[0].stretches[1])
    stretches = stretches_of_subset(dataset_of(subjects).training_set)
    assert [[len(own) for own in one.stretches] for one in stretches] == [[100, 60], [80]]


def occupancies_of(weights, people_of_runs=None):
    found = Occupancies("states")
    for number, own in enumerate(weights):
        person = f"sub-{number}" if people_of_runs is None else people_of_runs[number]
        found.people.append(person)
        found.runs.append((f"rec-{number}", "run"))
        found.sites.append({})
        found.weights.append(np.asarray(own, dtype=float))
        found.visits.append(200.0)
    return found


def verdicts_of(found):
    return {one.name: one for one in found}


def test_one_state_a_subject_is_told_as_subjects():
    verdicts = verdicts_of(occupancy_verdicts(occupancies_of(1000 * np.eye(4))))
    assert verdicts["occupancy_by_subject"].holds is False
    assert verdicts["stasis"].holds is False
    assert verdicts["stasis"].value == 1.0
    gains = surrogate_verdict("phases", 0.9, [0.1, 0.11, 0.09], "states")
    overall = overall_verdict({**verdicts, gains.name: gains}, "states")
    assert gains.holds
    assert overall.holds is False
    assert "distinguish subjects" in overall.sentence


def test_shared_states_are_not_called_subjects():
    weights = np.random.default_rng(6).dirichlet([30, 30, 30], size=8) * 1000
    verdicts = verdicts_of(occupancy_verdicts(occupancies_of(weights)))
    assert verdicts["occupancy_by_subject"].holds
    assert verdicts["stasis"].holds
    assert verdicts["occupancy_by_site"].holds is None


def test_subjects_that_use_shared_states_unequally_are_not_called_subjects():
    weights = 2000 * (0.1 + 0.9 * np.eye(6)) / 1.5
    found = occupancies_of(weights)
    explained = found.explained()["subject"]
    assert 0.25 < explained.share - explained.by_chance < 0.5 * (1 - explained.by_chance)
    verdict = verdicts_of(occupancy_verdicts(found))["occupancy_by_subject"]
    assert verdict.holds
    assert "share the states" in verdict.sentence
    assert overall_verdict({verdict.name: verdict}, "states").holds is None
    own = verdicts_of(occupancy_verdicts(occupancies_of(np.repeat(np.eye(6), 2, axis=1) * 1000)))
    assert own["occupancy_by_subject"].holds is False, "two states each"


def test_sessions_that_differ_are_told_and_one_participant_is_no_verdict():
    weights = [[900, 100], [100, 900]] * 3
    verdicts = verdicts_of(occupancy_verdicts(occupancies_of(weights, ["a", "a", "b", "b", "c", "c"])))
    assert verdicts["occupancy_by_session"].holds is False
    assert verdicts["occupancy_by_subject"].holds
    alone = verdicts_of(occupancy_verdicts(occupancies_of([[10, 20]])))
    assert alone["occupancy_by_subject"].holds is None
    assert "one participant" in alone["occupancy_by_subject"].sentence
    assert alone["occupancy_by_subject"].to_dictionary()["value"] is None


def test_a_gain_counts_only_above_all_surrogates():
    assert surrogate_verdict("var", 0.5, [0.1, 0.12, 0.09, 0.11, 0.1], "states").holds
    assert not surrogate_verdict("var", 0.115, [0.1, 0.12, 0.09, 0.11, 0.1], "states").holds
    assert not surrogate_verdict("var", 0.13, [0.1, 0.12, 0.09, 0.11, 0.1], "states").holds


def test_one_surrogate_gives_no_verdict():
    alone = surrogate_verdict("var", 0.5, [0.1], "states")
    assert alone.holds is None
    assert "two surrogates are needed" in alone.sentence
    assert overall_verdict({alone.name: alone}, "states").holds is None
    assert surrogate_verdict("var", 0.5, [0.1, 0.1], "states").holds


def test_covariates_that_go_with_occupancy_are_found():
    generator = np.random.default_rng(7)
    motion = generator.random(20)
    occupancies = np.stack([0.3 + 0.4 * motion, 0.7 - 0.4 * motion], axis=1)
    columns = {
        "mean_fd": [str(value) for value in motion],
        "age": [str(value) for value in generator.random(20)],
        "sex": ["f", "m"] * 10,
        "constant": ["1"] * 20,
        "rare": ["3", "4"] + ["n/a"] * 18,
    }
    verdicts = verdicts_of(covariate_verdicts(occupancies, columns, "states", 0))
    assert verdicts["motion"].holds is False
    assert verdicts["motion"].value == pytest.approx(1.0)
    assert verdicts["covariate_age"].holds
    assert verdicts["covariate_constant"].holds is None
    assert verdicts["covariate_rare"].holds is None
    assert "covariate_sex" not in verdicts
    without = verdicts_of(covariate_verdicts(occupancies, {"motion": ["n/a"] * 20}, "states", 0))["motion"]
    assert without.holds is None
    assert "has measured none" in without.sentence


def test_a_covariate_with_decimal_commas_is_told_and_not_tested_on_those_without():
    occupancies = np.random.default_rng(0).dirichlet([2, 2], size=10)
    ages = [str(40 + number) if number < 6 else f"{40 + number},5" for number in range(10)]
    verdict = verdicts_of(covariate_verdicts(occupancies, {"age": ages}, "states", 0))["covariate_age"]
    assert verdict.value is None
    assert "decimal comma" in verdict.sentence


def test_motion_that_the_preparation_measured_stands_in_for_a_covariate():
    figures = {"sub-1": (0.1, 0.3), "sub-2": (0.4,), "sub-3": ()}
    notes = {
        name: ({"step": "motion_correction", "runs": {str(run): {MEASURED: one} for run, one in enumerate(own)}},)
        for name, own in figures.items()
    }
    signals = np.random.default_rng(0).normal(size=(3, 30, 2)).astype("f4")
    recordings = {
        name: dataclasses.replace(recording_of(own, [[0, 30]]), preparation=({"step": "clean"}, *notes[name]))
        for name, own in zip(figures, signals)
    }
    dataset = MultiSubjectDataset.from_arrays(recordings, standardization="none")
    names = ["sub-3", "sub-1", "sub-2"]
    found = with_measured_motion({"age": ["1", "2", "3"], "fd": ["n/a"] * 3}, dataset, names)[MEASURED]
    assert found[0] == "n/a"
    assert [float(one) for one in found[1:]] == pytest.approx([0.2, 0.4])
    assert MEASURED not in with_measured_motion({"fd": ["1", "2", "3"]}, dataset, names)


def test_of_several_covariates_of_motion_none_is_lost():
    generator = np.random.default_rng(7)
    motion = generator.random(20)
    occupancies = np.stack([0.3 + 0.4 * motion, 0.7 - 0.4 * motion], axis=1)
    for names in (("mean_framewise_displacement_mm", "mean_fd"), ("mean_fd", "mean_framewise_displacement_mm")):
        columns = dict(zip(names, ([str(value) for value in motion], [str(value) for value in generator.random(20)])))
        verdicts = verdicts_of(covariate_verdicts(occupancies, columns, "states", 0))
        assert verdicts["motion"].holds is False, names
        assert verdicts[f"covariate_{names[1]}"].holds, names


def test_a_state_of_the_global_signal_is_told_and_one_without_visits_is_no_obstacle():
    generator = np.random.default_rng(8)
    loud = np.repeat(generator.random(40) < 0.5, 10).astype(float)
    signals = np.repeat(generator.normal(size=(400, 1)) * (0.2 + 3 * loud[:, None]), 3, axis=1)
    alpha = np.stack([loud, 1 - loud, np.zeros(400)], axis=1)
    assert not global_signal_verdict(people([signals]), [alpha], "states", has_channels=True).holds
    noise = people([generator.normal(size=(400, 3))])
    assert global_signal_verdict(noise, [alpha], "states", has_channels=True).holds
    assert global_signal_verdict(noise, [alpha], "states", has_channels=False).holds is None


def test_halves_of_the_same_states_agree_and_states_that_are_subjects_do_not():
    generator = np.random.default_rng(9)
    paths = [np.repeat(generator.integers(0, 3, 40), 10) for _ in range(4)]
    first = [np.eye(4)[path] for path in paths]  # the fourth state is never visited
    second = [own[:, [2, 0, 1, 3]] for own in first]
    found = agreement(first, second, 0)
    assert found.similarity == pytest.approx(1.0)
    assert np.isnan(found.of_states[3])
    assert halves_verdict(found, "states").holds
    still = [np.tile(np.eye(4)[number], (400, 1)) for number in range(4)]
    assert not halves_verdict(agreement(still, still, 0), "states").holds
    noise = [np.eye(4)[np.repeat(generator.integers(0, 3, 40), 10)] for _ in range(4)]
    assert not halves_verdict(agreement(first, noise, 0), "states").holds


def test_subjects_that_are_compared_may_have_no_sample_that_both_models_see():
    generator = np.random.default_rng(9)
    first = [np.eye(2)[np.repeat(generator.integers(0, 2, 40), 10)], np.full((30, 2), np.nan)]
    assert agreement(first, first, 0).similarity == pytest.approx(1.0)


def test_all_recordings_of_a_participant_go_to_one_half():
    subjects = [SubjectStretches(f"rec-{n}", f"sub-{n // 2}", 1.0, [np.zeros((30, 1))]) for n in range(8)]
    first, second = halves(subjects, 0)
    assert len(first) == len(second) == 4
    assert not {one.participant for one in first} & {one.participant for one in second}


def model_of_two_states():
    model = GaussianHMM(HMMConfig(n_states=2), 2)
    covariances = torch.tensor([[[4.0, 1.0], [1.0, 1.0]], [[0.5, 0.0], [0.0, 2.0]]], dtype=torch.float64)
    transitions = torch.tensor([[0.95, 0.05], [0.1, 0.9]], dtype=torch.float64)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    model.set_parameters(GaussianHMMParameters(torch.zeros(2, 2).double(), covariances, half, transitions))
    return model.eval()


def test_data_of_the_model_pass_the_predictive_check_and_slow_data_do_not():
    model, family = model_of_two_states(), get_family("hmm")
    like = people([np.zeros((400, 2))], [np.zeros((300, 2)), np.zeros((200, 2))])
    generator = torch.Generator().manual_seed(0)
    own = drawn_like(model, like, generator)
    draws = [summaries_of(family, model, drawn_like(model, like, generator)) for _ in range(19)]
    verdicts = verdicts_of(predictive_verdicts(summaries_of(family, model, own), draws, "states"))
    assert all(one.holds for one in verdicts.values())
    kernel = np.ones(8) / np.sqrt(8)
    slow = [
        one.of([np.apply_along_axis(np.convolve, 0, own, kernel, mode="same") for own in one.stretches]) for one in own
    ]
    verdicts = verdicts_of(predictive_verdicts(summaries_of(family, model, slow), draws, "states"))
    assert verdicts["predictive_spectra"].holds is False
    assert verdicts["predictive_spectra"].value > verdicts["predictive_spectra"].reference
    few = verdicts_of(predictive_verdicts(summaries_of(family, model, slow), draws[:5], "states"))
    assert few["predictive_spectra"].holds is None
