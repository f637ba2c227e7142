"""Numbers of trials by the regressor, beside a ridge of scikit-learn."""

import numpy as np
import pytest

from dynml import Decoder, DecoderRegressor
from dynml.errors import ConfigurationError, DataError

GENERATOR = np.random.default_rng(5)
FORCES = 200.0 + 30.0 * GENERATOR.normal(size=80)
TRIALS = GENERATOR.normal(size=(80, 10, 3))
TRIALS[:, :, 0] += (FORCES - 200.0)[:, None] / 30.0
SETTINGS = {"max_epochs": 1, "settings": {"trainer.inner_folds": 0}}


def test_numbers_are_predicted_in_their_own_units():
    from sklearn.linear_model import Ridge

    regressor = DecoderRegressor(**SETTINGS).fit(TRIALS[:60], FORCES[:60])
    said = regressor.predict(TRIALS[60:])
    ridge = Ridge(alpha=1.0).fit(TRIALS[:60].mean(axis=1), FORCES[:60])
    assert said.shape == (20,)
    assert np.corrcoef(said, ridge.predict(TRIALS[60:].mean(axis=1)))[0, 1] > 0.97
    assert regressor.score(TRIALS[60:], FORCES[60:]) > ridge.score(TRIALS[60:].mean(axis=1), FORCES[60:]) - 0.05
    assert regressor.experiment_.model.config.target_values == "numbers"


def test_it_is_cross_validated_as_a_regressor():
    from sklearn.base import is_regressor
    from sklearn.model_selection import GroupKFold, cross_val_score

    people = np.repeat(np.arange(4), 20)
    regressor = DecoderRegressor(**SETTINGS)
    assert is_regressor(regressor)
    scores = cross_val_score(regressor, TRIALS, FORCES, groups=people, cv=GroupKFold(2))
    assert (scores > 0.7).all()


def test_trials_are_held_out_though_each_has_a_number_of_its_own():
    regressor = DecoderRegressor(validation_fraction=0.25, **SETTINGS).fit(TRIALS, FORCES)
    assert regressor.summary_["n_trials"] == {"training": 60, "validation": 20}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (np.array(["1.5", "2.5"] * 40), r"no numbers \('1.5', '2.5', '1.5' ..\)"),
        (np.array([True, False] * 40), "no numbers"),
        (np.where(np.arange(80) == 7, np.nan, FORCES), r"no label \(nan\) for 1 of its trials \(7\)"),
        (np.full(80, 3.0), r"one number only \(3\)"),
    ],
)
def test_what_is_no_number_is_said_in_a_sentence(numbers, said):
    with pytest.raises(DataError, match=said):
        DecoderRegressor(**SETTINGS).fit(TRIALS, numbers)


def test_a_classifier_stays_one_and_names_the_other():
    with pytest.raises(DataError, match="DecoderRegressor predicts numbers"):
        Decoder().fit(TRIALS, FORCES)
    with pytest.raises(ConfigurationError, match="DecoderRegressor has numbers"):
        DecoderRegressor(settings={"model.target_values": "classes"}).fit(TRIALS, FORCES)
