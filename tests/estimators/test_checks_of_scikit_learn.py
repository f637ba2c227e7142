"""The checks that scikit-learn makes of every estimator, but for those that no model of time series can pass.

All of them are made of the HMM. The others share its code, and have all of them made by DYNML_ALL_CHECKS=1.
"""

import os

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from dynml import CSM, HMM, Decoder, DecoderRegressor, DyNeMo

NEIGHBOURS = "what a sample is taken for depends on the samples before and after it"
EXCEPTIONS = {
    "check_methods_sample_order_invariance": NEIGHBOURS,
    "check_methods_subset_invariance": NEIGHBOURS,
}
WITHOUT_FIT = {
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_parameters_default_constructible",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
}
OF_EACH = {*WITHOUT_FIT, "check_estimators_pickle", "check_dict_unchanged", "check_n_features_in_after_fitting"}
OF_CLASSIFIERS = {
    "check_classifiers_classes",
    "check_classifiers_one_label",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_regression_target",
    "check_supervised_y_no_nan",
    "check_supervised_y_2d",
    "check_requires_y_none",
}
OF_REGRESSORS = {"check_regressors_int", "check_supervised_y_2d", "check_requires_y_none"}
ESTIMATORS = [
    HMM(2, n_init=1, max_epochs=2, settings={"initialization.n_epochs": 1, "initialization.method": "random_subset"}),
    DyNeMo(
        2,
        sequence_length=10,
        max_epochs=1,
        n_kl_annealing_epochs=1,
        inference_n_units=2,
        model_n_units=2,
        settings={"initialization.method": "random"},
    ),
    CSM(4, n_layers=1, window_length=10, max_epochs=1),
    Decoder(max_epochs=1, settings={"trainer.inner_folds": 0, "model.linear_answer": "none"}),
    DecoderRegressor(max_epochs=1, settings={"trainer.inner_folds": 0}),
]


def checks_of(estimator):
    """Checks to make of an estimator, as parameters of a test."""
    expected = {} if isinstance(estimator, (Decoder, DecoderRegressor)) else EXCEPTIONS
    own = {Decoder: OF_CLASSIFIERS, DecoderRegressor: OF_REGRESSORS}.get(type(estimator), set())
    name = type(estimator).__name__
    for one, check in estimator_checks_generator(estimator, expected_failed_checks=expected, mark=None):
        called = getattr(check, "func", check).__name__
        if called in OF_EACH | own or isinstance(estimator, HMM) or os.environ.get("DYNML_ALL_CHECKS"):
            marks = [pytest.mark.xfail(reason=expected[called], strict=True)] if called in expected else []
            yield pytest.param(one, check, id=f"{name}-{called}", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), [case for one in ESTIMATORS for case in checks_of(one)])
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
