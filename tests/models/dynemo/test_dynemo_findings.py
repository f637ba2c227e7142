"""What DyNeMo finds in simulations, and what is said of it beside its baselines."""

import numpy as np
from dynemo_oracles import soft_mixture, trainer_of

from dynml.models.dynemo.inference import infer
from dynml.models.dynemo.report import findings
from dynml.simulation import simulate_hmm


def correlations(found, truth):
    """Largest correlation of each true course with a found one, no course being used twice."""
    values = np.corrcoef(found.T, truth.T)[: found.shape[1], found.shape[1] :]
    taken = values.argmax(0)
    assert len(set(taken.tolist())) == truth.shape[1]
    return values.max(0)


def test_all_modes_of_a_soft_mixture_are_found(tmp_path):
    signals, alphas, _ = soft_mixture((3000, 2500, 800), period=90)
    trainer = trainer_of(
        tmp_path,
        signals,
        model={
            "sequence_length": 100,
            "inference_n_units": 16,
            "model_n_units": 16,
            "n_kl_annealing_epochs": 6,
            "learn_means": False,
        },
        initialization={"method": "unmixing"},
        sampler={"batch_size_training": 8},
        max_epochs=20,
    )
    summary = trainer.train_and_validate()
    (held_out,) = infer(trainer.model, trainer.dataset.validation_set)
    assert correlations(held_out.alpha, alphas[-1]).min() > 0.9
    assert min(summary["relative_activity"]) > 0.1
    for subset in ("training", "validation"):
        for baseline in ("gaussian", "gaussian_mixture"):
            assert summary["free_energy"][subset] < summary["baselines"][baseline][subset]


def test_of_data_whose_states_exclude_each_other_it_is_said_that_an_hmm_explains_them_better(tmp_path):
    simulated = simulate_hmm(n_subjects=3, n_samples=1200, n_states=3, n_channels=5, stay_probability=0.96, seed=3)
    simulated = simulated.standardize() or simulated
    trainer = trainer_of(
        tmp_path,
        simulated.time_series,
        model={"sequence_length": 50, "inference_n_units": 16, "model_n_units": 16, "n_kl_annealing_epochs": 4},
        initialization={"method": "hmm"},
        sampler={"batch_size_training": 8},
        max_epochs=12,
    )
    summary = trainer.train_and_validate()
    for subset in ("training", "validation"):
        assert (
            summary["baselines"]["hmm"][subset]
            < summary["free_energy"][subset]
            < summary["baselines"]["gaussian"][subset]
        )
        assert any(
            f"On {subset} data an HMM with as many states has the lower free energy" in said
            for said in summary["findings"]
        )


def scores(model, gaussian, mixture, hmm, activity=(0.5, 0.5)):
    def of(value):
        return {"training": value, "validation": None}

    baselines = {"gaussian": of(gaussian), "gaussian_mixture": of(mixture), "hmm": of(hmm)}
    return {"free_energy": of(model), "baselines": baselines, "relative_activity": activity}


def test_findings_say_what_wins_and_which_modes_are_hardly_active():
    assert findings(scores(1.0, 4.0, 3.0, 2.0)) == []
    (said,) = findings(scores(2.5, 4.0, 3.0, 2.0))
    assert "On training data an HMM with as many states has the lower free energy" in said
    of_hmm, of_mixture = findings(scores(3.5, 4.0, 3.0, 2.0))
    assert "an HMM" in of_hmm
    assert "no better than its baseline gaussian mixture." in of_mixture
    (said,) = findings(scores(4.5, 4.0, 3.0, 2.0))
    assert "no better than its baselines gaussian, gaussian mixture and hmm." in said
    (said,) = findings(scores(1.0, None, 3.0, 2.0, activity=(0.9905, 0.005, 0.0045)))
    assert "These modes are hardly active: 2 (0.50%), 3 (0.45%)" in said
