"""People, or trials, that are held out of a fit to choose the best epoch."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from dynml import CSM, HMM, Decoder
from dynml.errors import ConfigurationError

GENERATOR = np.random.default_rng(5)
SERIES = [GENERATOR.normal(size=(150, 3)) * np.repeat([[1.0], [3.0]], 75, axis=0) for _ in range(5)]
QUICK = {"n_init": 1, "max_epochs": 2, "settings": {"initialization.n_epochs": 1}}


def subsets_of(estimator):
    subsets = estimator.experiment_.parameters["dataset"]["subsets"]
    return {name: subsets[name]["subjects"] for name in ("training", "validation")}


def test_a_share_of_the_people_chooses_the_best_epoch():
    groups = ["a", "a", "b", "c", "d"]
    hmm = HMM(2, validation_fraction=0.25, random_state=1, **QUICK).fit(SERIES, groups=groups)
    found = subsets_of(hmm)
    people = {name: {groups[int(one[-1])] for one in subjects} for name, subjects in found.items()}
    assert len(people["validation"]) == 1
    assert people["training"] == set("abcd") - people["validation"]
    assert hmm.summary_["free_energy"]["validation"] is not None
    assert subsets_of(HMM(2, validation_fraction=0.25, random_state=1, **QUICK).fit(SERIES, groups=groups)) == found
    assert len(hmm.predict(SERIES)) == 5
    without = HMM(2, **QUICK).fit(SERIES)
    assert subsets_of(without)["validation"] == []


def test_the_scale_is_that_of_the_training_alone():
    shifted = [signals + 100.0 * number for number, signals in enumerate(SERIES[:2])]
    hmm = HMM(1, validation_fraction=0.5, standardization="training", **QUICK).fit(shifted)
    learnt = int(subsets_of(hmm)["training"][0][-1])
    np.testing.assert_allclose(hmm.offset_, shifted[learnt].mean(axis=0))


def test_trials_of_each_class_are_held_out():
    trials, labels = GENERATOR.normal(size=(40, 6, 3)), np.repeat(["face", "house"], [30, 10])
    trials[30:, :, 0] += 3
    settings = {"trainer.inner_folds": 0, "model.linear_answer": "none"}
    decoder = Decoder(max_epochs=2, validation_fraction=0.2, settings=settings).fit(trials, labels)
    counts = decoder.experiment_.model.config.class_counts
    assert counts == [24, 8]
    assert decoder.experiment_.parameters["dataset"]["subsets"]["validation"]["n_segments"] == 8
    assert decoder.predict(trials).shape == (40,)


def test_it_is_searched_over():
    search = GridSearchCV(
        CSM(4, n_layers=1, window_length=10, max_epochs=1), {"validation_fraction": [None, 0.4]}, cv=2
    )
    assert np.isfinite(search.fit(SERIES[:4]).cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("fraction", [0, 1, 1.5, "half", True])
def test_other_fractions_are_refused(fraction):
    with pytest.raises(ConfigurationError, match="validation_fraction"):
        HMM(2, validation_fraction=fraction, **QUICK).fit(SERIES)


def test_there_must_be_somebody_to_hold_out():
    with pytest.raises(ConfigurationError, match="nobody to hold out"):
        HMM(2, validation_fraction=0.5, **QUICK).fit(SERIES[0])
    with pytest.raises(ConfigurationError, match="each class on both sides"):
        Decoder(validation_fraction=0.1).fit(SERIES[0][:5], list("aabbb"))
    with pytest.raises(ConfigurationError, match="own validation subset"):
        HMM(2, validation_fraction=0.5).fit("store.hdf5")
