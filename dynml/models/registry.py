"""Which families there are, and where their parts live. Nothing is imported before it is needed.

A family is a module with a `FAMILY` of type `Family`. Those of this package stand in `FAMILIES`; another package adds
its own by the entry point `dynml.families`:

    [project.entry-points."dynml.families"]
    my_family = "my_package.family:FAMILY"
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, Literal

from dynml.configuration import nearest_name
from dynml.entry_points import loaded_entry, names_of_group, unusable_entry
from dynml.errors import ConfigurationError

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
    data are made of it; null: there are none."""

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
        return {group: load(name) for group, name in names.items() if name is not None}


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
    return family


def family_of_run(parameters: dict[str, Any]) -> Family | None:
    """Family that a run recorded, or one in the package of its model's class that names it; None where there is none.

    Parameters
    ----------
    parameters : dict
        Content of parameters.json.
    """
    if parameters.get("family") is not None:
        return get_family(parameters["family"])
    model_class = str(parameters.get("model_class"))
    package = model_class.partition(":")[0].partition(".")[0]  # others may be broken, and have no part in this
    names = names_of_group(ENTRY_POINT_GROUP, package)
    families = (get_family(name) for name in names if name not in FAMILIES)
    return next((family for family in families if family.model == model_class), None)


def load(dotted_name: str) -> Any:
    """Import what "package.module:Name" names."""
    module, _, attribute = dotted_name.partition(":")
    return getattr(importlib.import_module(module), attribute)
