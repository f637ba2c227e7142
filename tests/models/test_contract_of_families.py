"""A family of another package that breaks its contract is refused in a sentence that names what is wrong."""

import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer
from dynml.cli.commands.selection.one_run import _of_every_subject
from dynml.errors import CheckpointError, ConfigurationError, DataError
from dynml.models.build import settled_trainer
from dynml.models.registry import Family, family_of_run, get_family, load
from dynml.report.results import find_results
from dynml.training.batch_result import BatchResult

PARTS = """
    from dataclasses import dataclass
    from dynml.training.config import RunConfig
    from dynml.training.trainer import Trainer
    import torch

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        n_units: int = 2

    class Model(torch.nn.Module):
        pass

    @dataclass(frozen=True, kw_only=True)
    class EMSettings(RunConfig):
        tolerance: float = 0.1

    class EMTrainer(Trainer):
        config_class = EMSettings

    def settle(configs, dataset=None, pretrained=None):
        return configs["model"]

    FAMILY = FAMILY_OF_ENTRY = None
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Make a package `own_parts` that can be imported, and registers its FAMILY as the family `own`."""
    package, information = tmp_path / "own_parts.py", tmp_path / "own_parts-2.1.dist-info"
    package.write_text(textwrap.dedent(PARTS))
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 2.1\n")
    (information / "entry_points.txt").write_text("[dynml.families]\nown = own_parts:FAMILY\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("own_parts")
    __import__("sys").modules.pop("own_parts")


def family(**changes):
    return Family(**{"name": "own", "model_config": "own_parts:Settings", "model": "own_parts:Model"} | changes)


@pytest.mark.parametrize("name", ["own_parts:Modle", "own_partz:Model", "no_name_at_all"])
def test_a_part_that_is_not_there_is_named(parts, name):
    with pytest.raises(DataError, match=f"^'{name}', which a family names, could not be imported: .*Error[)][.]$"):
        load(name)
    with pytest.raises(AttributeError):
        load("dynml.models.registry:Famly")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_config": "own_parts:Model"}, "its model_config is 'own_parts:Model', but must be a dataclass"),
        ({"sampler_defaults": {"window_lenght": 9}}, "'window_lenght', but must be .* mean 'window_length'"),
        ({"loader_defaults": {"collat": "packed"}}, "its loader_defaults is 'collat', but must be a known setting"),
    ],
)
def test_settings_that_are_none_are_named(parts, changes, sentence):
    with pytest.raises(DataError, match=f"The family own cannot be used: .*{sentence}"):
        family(**changes).config_classes()
    assert family(sampler_defaults={"window_length": 9}).config_classes()["model"] is parts.Settings


def test_a_trainer_needs_its_own_settings(parts):
    with pytest.raises(DataError, match=r"trainer_config is 'dynml[.].*TrainerConfig', but must be EMSettings, which"):
        family(trainer="own_parts:EMTrainer").check_trainer()
    family(trainer="own_parts:EMTrainer", trainer_config="own_parts:EMSettings").check_trainer()
    family().check_trainer()


def test_settling_gives_all_groups_back(parts):
    own = family(settle_with_data="own_parts:settle")
    with pytest.raises(DataError, match="its settle_with_data is 'Settings', but must be a function that gives back"):
        settled_trainer(own, None, {"model": parts.Settings()}, ("", ""))


def test_an_entry_has_the_name_of_its_family(parts, monkeypatch):
    monkeypatch.setattr(parts, "FAMILY", family(name="other"))
    with pytest.raises(DataError, match="own-parts cannot be used: .*'own' .* must name one whose name is the entry's"):
        get_family("own")
    monkeypatch.setattr(parts, "FAMILY", family())
    assert family_of_run({"family": "own"}) is parts.FAMILY


def test_a_run_whose_package_is_gone_says_which_one_it_was():
    with pytest.raises(
        CheckpointError, match=r"family 'own' of this run: .* it was trained with [(]own-parts 2[.]1[)]"
    ):
        family_of_run({"family": "own", "family_package": "own-parts 2.1"})
    with pytest.raises(CheckpointError, match="install the one that it was trained with"):
        family_of_run({"family": "own"})


@pytest.mark.parametrize(
    "given", [torch.tensor(1.0), (torch.ones(3), 3), (1.0, 3), (torch.tensor(1.0), None), (torch.tensor(1.0), 2, 3)]
)
def test_a_loss_is_one_number_with_its_count(given):
    with pytest.raises(ConfigurationError, match="what compute_loss gives is .*, but must be a pair: the mean loss"):
        BatchResult.of(given)


def test_counts_of_any_kind_are_taken():
    assert BatchResult.of([torch.tensor([1.0]), np.int64(3)]).n == 3.0
    n = torch.tensor(4)
    assert BatchResult.of((torch.tensor(1.0), n)).n is n


class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)


class OwnStep(Trainer):
    def run_one_batch(self, batch):
        return BatchResult(self.model.linear(batch.signals.nan_to_num()).square().mean(), 1.0)


def test_masked_samples_are_refused_for_a_trainer_that_computes_the_loss_itself(tmp_path):
    signals = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    signals[50:60] = np.nan
    dataset = MultiSubjectDataset.from_arrays([signals], missing="mask", standardization="none")
    model = Step()

    def trainer():
        parts = BatchSampler(dataset, window_length=50), BatchLoader(dataset, model)
        return OwnStep(model, tmp_path, "run", *parts, max_epochs=1, progress=False, resume="anew")

    with pytest.raises(ConfigurationError, match="model is 'Step', but must be one that knows masked samples"):
        trainer()
    Step.knows_masked_samples = True
    assert trainer().train_and_validate()["epochs"] == 1


def test_held_out_scores_have_the_form_that_selection_reads():
    right = {"model": {"a": 1.0, "b": 2.0}, "mean": {"a": 3.0}}
    assert _of_every_subject(right, family(), ["a", "b"]) == right
    for wrong in (None, 1.0, {"model": 1.0}, {"mean": {"a": 1.0, "b": 1.0}}, {"model": {"a": 1.0}}):
        with pytest.raises(DataError, match="family own must give .* with 'model' among the predictors, for every"):
            _of_every_subject(wrong, family(), ["a", "b"])
    assert _of_every_subject({"mean": {"a": 1.0}}, family(inference="own_parts:settle"), ["a"])


def test_a_report_says_that_files_of_a_familys_own_are_nothing_for_it(tmp_path):
    (tmp_path / "own.json").write_text("{}")
    own = SimpleNamespace(family=family(write_inference="own_parts:settle"))
    with pytest.raises(DataError, match="files that only the family own can read; leave --results out"):
        find_results(tmp_path, own)
    with pytest.raises(DataError, match="holds no results"):
        find_results(tmp_path, SimpleNamespace(family=family()))
