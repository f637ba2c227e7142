"""Which families there are, and where their parts live. Nothing is imported before it is needed.

A family is a module with a `FAMILY` of type `Family`. Those of this package stand in `FAMILIES`; another package adds
its own by the entry point `dynml.families`:

    [project.entry-points."dynml.families"]
    my_family = "my_package.family:FAMILY"
"""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass, field
from typing import Any, Literal

from dynml.configuration import nearest_name
from dynml.entry_points import loaded_entry, names_of_group, release_of, unusable_entry
from dynml.errors import CheckpointError, ConfigurationError, DataError, in_one_line

ENTRY_POINT_GROUP = "dynml.families"
Components = Literal["states", "modes"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Dotted names ("package.module:Name") of what makes a family.

    Only `model_config` and `model` are required: the shared trainer, sampler and loader serve a model that has
    `compute_loss(outputs, batch) -> (mean loss, n)`.
    """

    name: str
    """What stands on the command line."""

    model_config: str
    """Frozen dataclass of the model's settings, in a module without torch."""

    model: str
    """Called as `Model(config, n_channels)`."""

    trainer: str = "dynml.training.trainer:Trainer"
    """Trainer, or a subclass of it."""

    trainer_config: str = "dynml.training.config:TrainerConfig"
    initialization_config: str | None = None
    """Settings of starts, given to the trainer as `initialization`; null: the family has none."""

    sampler_config: str = "dynml.batches.sampler_config:BatchSamplerConfig"
    loader_config: str = "dynml.batches.loader_config:BatchLoaderConfig"
    inference: str | None = None
    """Called as `infer(model, subset)`, and with `dual_estimation` if it has such a parameter: gives a
    `dynml.models.inferred.InferredSubject` for each subject; null: the family gives no states or modes over time."""

    states_of_stretch: str | None = None
    """Called as `states_of_stretch(model, signals)` with samples (T, C) of one trial, masked ones NaN: gives the
    probabilities of states (coefficients of modes) given these alone, (T, K), which a decoder reads as features
    (`decoding --pretrained`); null: it cannot."""

    components: Components = "states"
    """What the columns of an inferred subject's alpha, and the model's covariances, are called."""

    n_free_parameters: str | None = None
    """Called as `n_free_parameters(model)`, for families whose log-likelihood is exact: AIC and BIC of the training
    data are made of it, and of `{"free_energy": {"training": nats per sample}}` in the trainer's `final_report`; null:
    there are none."""

    held_out_scores: str | None = None
    """Called as `held_out_scores(trainer, subset)` after a run, for families whose settings can be compared by held-out
    subjects: gives {predictor: {subject: value}}, lower is better, of the baselines and, where the family has no
    `inference`, of the model itself (as `model`)."""

    settle: str | None = None
    """Called as `settle(configs)` with the Config of every group, when a run begins: gives them back with settings that
    follow from each other filled in; null: there are none."""

    dataset_of_run: str | None = None
    """Called as `dataset_of_run(configs, dataset, pretrained)` before `settle_with_data`: gives the dataset with the
    channels that the model takes; null: it takes all of them."""

    settle_with_data: str | None = None
    """Called as `settle_with_data(configs, dataset, pretrained)` once the dataset is open, when a run begins and when
    it goes on: gives the configs back with what follows from the data filled in; null: there is nothing. `pretrained`
    is the experiment to start from, or None."""

    decode: str | None = None
    """Called as `decode(experiment, dataset, subset_names)`, for families that tell classes, labels or numbers of
    trials: gives a `Decoded`, `DecodedLabels` or `DecodedNumbers` of `dynml.models.sequence.decoding.inference`, of
    which the scripts write tables, scores and pictures; null: the family does not decode."""

    write_inference: str | None = None
    """Called as `write_inference(experiment, dataset, subset_names, out_folder)`, for families with files of their own:
    writes them and returns a line to print; null: what `decode` or `inference` gives is written."""

    sampler_defaults: dict[str, Any] = field(default_factory=dict)
    """Settings of the sampler that differ from its own defaults."""

    loader_defaults: dict[str, Any] = field(default_factory=dict)
    """Settings of the loader that differ from its own defaults."""

    usual_settings: tuple[str, ...] | None = None
    """Settings that `--help` shows ("model.n_states"); null: all of them."""

    unused_settings: tuple[str, ...] = ()
    """Settings of sampler, loader and trainer that the family has no use for, or refuses: no help shows them."""

    @property
    def can_be_inferred_from(self) -> bool:
        """Whether there is anything that it says of new data."""
        return not (self.inference is None and self.decode is None and self.write_inference is None)

    def config_classes(self) -> dict[str, type[Any]]:
        """Config dataclass of each group of settings, without importing torch."""
        names = {
            "model": self.model_config,
            "initialization": self.initialization_config,
            "trainer": self.trainer_config,
            "sampler": self.sampler_config,
            "loader": self.loader_config,
        }
        classes = {group: load(name) for group, name in names.items() if name is not None}
        for group, kind in classes.items():
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                raise self._unusable(f"{group}_config", names[group], "a dataclass of settings")
        for group, defaults in (("sampler", self.sampler_defaults), ("loader", self.loader_defaults)):
            known = [one.name for one in dataclasses.fields(classes[group])]
            for name in defaults:
                if name not in known:
                    raise self._unusable(f"{group}_defaults", name, f"a known setting{nearest_name(name, known)}")
        return classes

    def check_trainer(self) -> None:
        """Refuse a trainer whose settings are not those that the command line has.

        Raises
        ------
        DataError
            Names both.
        """
        trainer, config = load(self.trainer), load(self.trainer_config)
        if not issubclass(config, trainer.config_class):
            accepted = f"{trainer.config_class.__name__}, which {trainer.__name__} takes (its config_class)"
            raise self._unusable("trainer_config", self.trainer_config, accepted)

    def given_back(self, hook: str, given: dict[str, Any], found: Any) -> dict[str, Any]:
        """Refuse what `settle` or `settle_with_data` gives, where that is not the groups that it was given.

        Raises
        ------
        DataError
            Names the function.
        """
        if not isinstance(found, dict) or found.keys() != given.keys():
            raise self._unusable(hook, type(found).__name__, "a function that gives back all groups it was given")
        return found

    def _unusable(self, field: str, found: object, accepted: str) -> DataError:
        return DataError(f"The family {self.name} cannot be used: its {field} is {found!r}, but must be {accepted}.")


FAMILIES = {
    "autoencoder": "dynml.models.sequence.family:AUTOENCODER",
    "csm": "dynml.models.sequence.family:CSM",
    "decoding": "dynml.models.sequence.decoding.family:FAMILY",
    "dynemo": "dynml.models.dynemo.family:FAMILY",
    "hmm": "dynml.models.hmm.family:FAMILY",
    "network_bert": "dynml.models.sequence.family:NETWORK_BERT",
    "sequence_bert": "dynml.models.sequence.family:SEQUENCE_BERT",
}

IMPORTED_BACKBONES = ("cbramod", "cortex_mae")
"""What experiments of imported weights are of that only a decoder can use."""


def family_names() -> list[str]:
    """Names of all families, those of other packages included."""
    return sorted({*FAMILIES, *names_of_group(ENTRY_POINT_GROUP)})


def get_family(name: str) -> Family:
    """Find a family by name.

    Raises
    ------
    ConfigurationError
        When there is none of that name, with the nearest one.
    DataError
        When it is another package's and cannot be used.
    """
    if name in FAMILIES:
        return load(FAMILIES[name])
    if name in IMPORTED_BACKBONES:
        accepted = (
            f"a family that is trained here: {name} is imported by dynml_import_weights.py, and says something of data "
            "once dynml_train_model.py decoding --pretrained has adapted it"
        )
        raise ConfigurationError("FAMILY", name, accepted)
    if name not in names_of_group(ENTRY_POINT_GROUP):
        raise ConfigurationError("FAMILY", name, f"a known family{nearest_name(name, family_names())}")
    family: Any = loaded_entry(ENTRY_POINT_GROUP, name)
    if not isinstance(family, Family):
        raise unusable_entry(ENTRY_POINT_GROUP, name, family, "a dynml.models.registry.Family")
    if family.name != name:
        raise unusable_entry(ENTRY_POINT_GROUP, name, f"the Family {family.name!r}", "one whose name is the entry's")
    return family


def package_of_family(name: str) -> str | None:
    """Name and version of the package that a family is of; None for those of this package."""
    return None if name in FAMILIES else release_of(ENTRY_POINT_GROUP, name)


def recorded_family(parameters: dict[str, Any]) -> Family:
    """Find the family that a run recorded.

    Raises
    ------
    CheckpointError
        When the package that it is of is not installed.
    """
    name = parameters["family"]
    if name not in IMPORTED_BACKBONES and name not in family_names():
        package = parameters.get("family_package")
        where = "that it was trained with" if package is None else f"it was trained with ({package})"
        raise CheckpointError(f"No installed package has the family {name!r} of this run: install the one {where}.")
    return get_family(name)


def family_of_run(parameters: dict[str, Any]) -> Family | None:
    """Family that a run recorded, or one in the package of its model's class that names it; None where there is none.

    Parameters
    ----------
    parameters : dict
        Content of parameters.json.
    """
    if parameters.get("family") is not None:
        return recorded_family(parameters)
    model_class = str(parameters.get("model_class"))
    package = model_class.partition(":")[0].partition(".")[0]  # others may be broken, and have no part in this
    names = names_of_group(ENTRY_POINT_GROUP, package)
    families = (get_family(name) for name in names if name not in FAMILIES)
    return next((family for family in families if family.model == model_class), None)


def load(dotted_name: str) -> Any:
    """Import what "package.module:Name" names.

    Raises
    ------
    DataError
        When another package names what cannot be imported; a fault of this package keeps its traceback.
    """
    module, _, attribute = dotted_name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        if module.partition(".")[0] == "dynml":
            raise
        raise DataError(
            f"{dotted_name!r}, which a family names, could not be imported: {in_one_line(error)} "
            f"({type(error).__name__})."
        ) from error
