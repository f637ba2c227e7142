"""Examples of the docstrings run, and a fit that a signal ends is neither finished nor lost."""

import doctest
import importlib

import numpy as np
import pytest

from dynml import HMM
from dynml.models.hmm.trainer import HMMTrainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["states", "dynemo", "csm", "decoder"])
def test_examples_of_the_docstrings_give_what_they_say(name):
    found = doctest.testmod(importlib.import_module(f"dynml.estimators.{name}"))
    assert found.attempted > 2
    assert found.failed == 0


@pytest.mark.filterwarnings("ignore")
def test_a_signal_ends_a_fit_and_the_next_one_goes_on(tmp_path, monkeypatch):
    signals = np.random.default_rng(0).normal(size=(400, 3)) * np.repeat([1.0, 3.0], 200)[:, None]
    settings = {"trainer.tolerance": 0.0}

    def estimator(folder):
        return HMM(2, n_init=1, max_epochs=6, random_state=0, settings=settings, folder=folder)

    undisturbed = estimator(tmp_path / "undisturbed").fit(signals)
    original = HMMTrainer.end_of_training_epoch

    def interrupted(trainer):
        original(trainer)
        if len(trainer.history.rows) == 2:
            trainer.interruption.signal_number = 2

    monkeypatch.setattr(HMMTrainer, "end_of_training_epoch", interrupted)
    for folder in (tmp_path / "stopped", None):
        with pytest.raises(KeyboardInterrupt):
            estimator(folder).fit(signals)
    monkeypatch.undo()
    gone_on = estimator(tmp_path / "stopped").fit(signals)
    assert gone_on.n_iter_ == undisturbed.n_iter_ == 6
    np.testing.assert_array_equal(gone_on.predict_proba(signals), undisturbed.predict_proba(signals))
