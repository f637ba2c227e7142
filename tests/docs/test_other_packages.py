"""Packages that add a reader, a step or a family, and those that cannot be used: one sentence names the package."""

import json
import sys
import textwrap

import numpy as np
import pytest
import torch
from installing import describe

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer, load_experiment
from dynml.cli.commands.store_commands import parse_creation
from dynml.cli.commands.train import request_from_parameters
from dynml.configuration import config_from
from dynml.dataset.preparation_signature import _settings_of_step
from dynml.errors import CheckpointError, ConfigurationError, DataError
from dynml.models.registry import get_family
from dynml.preparation.chain import chosen_steps
from dynml.readers import extension_of, reader_class

MODULE = """
    from dataclasses import dataclass
    from typing import ClassVar

    import torch

    from dynml.configuration import check_at_least
    from dynml.models.registry import Family
    from dynml.preparation.step import PreparationStep
    from dynml.readers import Reader


    class SigReader(Reader):
        def describe(self, path): ...

        def read(self, path): ...


    @dataclass(frozen=True, kw_only=True)
    class Halve(PreparationStep):
        name: ClassVar[str] = "halve"
        times: int = 1


    @dataclass(frozen=True, kw_only=True)
    class Settings:
        n_lags: int = 1

        def __post_init__(self):
            check_at_least("n_lags", self.n_lags, 1)


    class Model(torch.nn.Module):
        def __init__(self, config, n_channels):
            super().__init__()
            self.config = config
            self.linear = torch.nn.Linear(n_channels, n_channels)

        def forward(self, signals):
            return self.linear(signals[:, :-1])

        def compute_loss(self, outputs, batch):
            return (outputs - batch.signals[:, 1:]).square().mean(), outputs[..., 0].numel()


    FAMILY = Family(name="added", model_config="added_parts:Settings", model="added_parts:Model")
"""


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Module of a package that adds one of each, and three entries that cannot be used."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "added_parts.py").write_text(textwrap.dedent(MODULE))
    (site / "broken_parts.py").write_text("raise ValueError('half\\nwritten.')\n")
    entries = {
        "dynml.readers": {".sig": "added_parts:SigReader", ".zzz": "broken_parts:Reader", ".odd": "added_parts:FAMILY"},
        "dynml.steps": {"halve": "added_parts:Halve", "lost": "no_such_parts:Lost", "other": "added_parts:Halve"},
        "dynml.families": {"added": "added_parts:FAMILY", "faulty": "broken_parts:F", "step": "added_parts:Halve"},
    }
    describe(site, "added-parts", "1.0", entries)
    monkeypatch.syspath_prepend(site)
    yield __import__("added_parts")
    del sys.modules["added_parts"]


def test_a_reader_of_another_package_is_found_by_its_extension(added, tmp_path):
    assert reader_class(tmp_path / "RUN.SIG") is added.SigReader
    with pytest.raises(DataError, match=r"there are readers of \.npy.*\.sig"):
        extension_of(tmp_path / "run.unknown")


def test_a_step_of_another_package_is_made_checked_and_compared(added):
    assert chosen_steps([{"step": "halve", "times": 2}]) == [added.Halve(times=2)]
    note = {"step": "halve", "times": 2, "found": 3, "versions": {}}
    assert _settings_of_step(note) == {"step": "halve", "times": 2}
    with pytest.raises(DataError, match=r"preparation\[0\]: 'halv' is not a preparation step \(did you mean 'halve'"):
        chosen_steps(["halv"])
    with pytest.raises(ConfigurationError, match=r"preparation\[0\]\.time is 2, .*'halve' \(did you mean 'times'"):
        chosen_steps([{"step": "halve", "time": 2}])


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda path: reader_class(path / "x.zzz"), r"'.zzz' of dynml.readers, .* half written \(ValueError\)"),
        (
            lambda path: reader_class(path / "x.odd"),
            "'.odd' of dynml.readers names .* made from dynml.readers.Reader",
        ),
        (lambda path: chosen_steps(["lost"]), "'lost' of dynml.steps, no_such_parts:Lost, could not be imported: No"),
        (lambda path: chosen_steps(["other"]), "'other' of dynml.steps names .* with the name 'other'"),
        (lambda path: get_family("faulty"), "'faulty' of dynml.families, .* half written"),
        (lambda path: get_family("step"), "'step' of dynml.families names .* a dynml.models.registry.Family"),
    ],
)
def test_an_entry_that_cannot_be_used_is_one_sentence_that_names_the_package(use, told, tmp_path):
    with pytest.raises(DataError, match=f"^The package added-parts cannot be used: its entry point {told}") as raised:
        use(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("added")
def test_two_packages_that_give_one_name_are_both_named(tmp_path):
    describe(tmp_path / "site", "second", "1.0", {"dynml.steps": {"halve": "second_parts:Halve"}})
    with pytest.raises(DataError, match="The packages added-parts and second both have an entry point 'halve'"):
        chosen_steps(["halve"])


@pytest.mark.usefixtures("added")
def test_the_help_of_the_creation_names_readers_and_steps_of_other_packages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dynml_create_hdf5_dataset.py", "--help"])
    with pytest.raises(SystemExit):
        parse_creation("Make a store.")
    shown = capsys.readouterr().out
    assert ".sig" in shown
    assert "halve" in shown


def test_a_setting_that_a_config_names_barely_is_told_with_its_group(added):
    with pytest.raises(ConfigurationError, match=r"^model\.n_lags is 0, but must be"):
        config_from(added.Settings, {"n_lags": 0}, "model")


def trained_in_python(model, folder):
    arrays = [np.random.default_rng(seed).normal(size=(300, 3)).astype(np.float32) for seed in range(3)]
    dataset = MultiSubjectDataset.from_arrays(arrays[:2], validation=arrays[2:], standardization="none")
    sampler = BatchSampler(dataset, window_length=50, batch_size_training=4)
    loader = BatchLoader(dataset, model)
    trainer = Trainer(model, folder, "run", sampler, loader, max_epochs=1, progress=False)
    trainer.train_and_validate()
    return trainer.folder.path


def test_a_model_of_a_family_that_was_trained_in_python_loads_again(added, tmp_path):
    model = added.Model(added.Settings(n_lags=2), 3)
    loaded = load_experiment(trained_in_python(model, tmp_path))
    assert loaded.family.name == "added"
    assert loaded.model.config == added.Settings(n_lags=2)
    torch.testing.assert_close(loaded.model.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_a_model_of_no_family_loads_into_the_model_that_is_given(added, tmp_path):
    class Mine(added.Model):
        pass

    model = Mine(None, 3)
    path = trained_in_python(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"no registered family .*Mine.*load_experiment\(path, model=\.\.\.\)"):
        load_experiment(path)
    loaded = load_experiment(path, model=Mine(None, 3))
    torch.testing.assert_close(loaded.model.state_dict(), model.state_dict(), rtol=0, atol=0)
    with pytest.raises(CheckpointError, match=r"another model than Mine: linear\.bias has the shape \(3,\) there and"):
        load_experiment(path, model=Mine(None, 4))


def test_a_script_does_not_go_on_with_a_model_that_was_built_in_python(added, tmp_path):
    path = trained_in_python(added.Model(None, 3), tmp_path)
    parameters = json.loads((path / "checkpoint" / "parameters.json").read_text(encoding="utf-8"))
    with pytest.raises(CheckpointError, match=r"run .* was built in Python: go on there"):
        request_from_parameters(parameters, path, {}, None, force=False)


def test_a_model_that_kept_no_settings_is_asked_for(added, tmp_path):
    model = added.Model(None, 3)
    with pytest.raises(CheckpointError, match=r"holds no settings of its model.*model\.config.*model=\.\.\."):
        load_experiment(trained_in_python(model, tmp_path))
