"""Parameters of estimators are settings of their families, with the same defaults."""

import dataclasses
import subprocess
import sys

import pytest

from dynml import CSM, HMM, Decoder, DyNeMo
from dynml.dataset.config import DatasetConfig
from dynml.estimators.run import ORDER

OWN = {
    *("sampling_frequency", "standardization", "missing", "picks", "group"),
    *("validation_fraction", "random_state", "folder", "settings", "verbose"),
}
CHOSEN = {"n_states": 6, "n_modes": 6, "backbone": "linear"}


@pytest.mark.parametrize("estimator", [HMM(), DyNeMo(), CSM(), Decoder()], ids=lambda one: type(one).__name__)
def test_defaults_are_those_of_the_family(estimator):
    family = estimator._family
    classes = {**family.config_classes(), "dataset": DatasetConfig}
    given = {"sampler": family.sampler_defaults, "loader": family.loader_defaults}
    for name, value in estimator.get_params().items():
        if name in OWN:
            continue
        group = next(group for group in ORDER if group in classes and name in classes[group].__dataclass_fields__)
        fields = {field.name: field.default for field in dataclasses.fields(classes[group])} | given.get(group, {})
        assert value == CHOSEN.get(name, fields[name]), name


def test_importing_dynml_imports_neither_torch_nor_scikit_learn():
    code = "import sys, dynml; print(sorted({'torch', 'sklearn', 'mne', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
