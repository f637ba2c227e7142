"""What dynml_import_weights.py does: from the command line to an experiment folder."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.cli.verbosity import say
from dynml.errors import ConfigurationError, DataWarning
from dynml.models.registry import get_family
from dynml.models.sequence.backbones.published.config import CONFIGS_OF_PUBLISHED
from dynml.reading_files import read_text

if TYPE_CHECKING:
    from dynml.training.checkpoints.experiment_folder import ExperimentFolder

OF_OSL = "hmm"
"""Family whose weights come from osl-dynamics."""


def parse_weights(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Arguments of dynml_import_weights.py."""
    parser = ScriptParser(description=description)
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="Published weights: pytorch_model.bin (learning-from-brains), pretrained_weights.pth (cbramod), "
        "checkpoint-last.pth (cortex_mae); hmm: the folder of arrays (.npy).",
    )
    parser.add_argument("experiments_path", metavar="EXPERIMENTS_PATH", help="Folder that holds experiments.")
    parser.add_argument("experiment_name", metavar="EXPERIMENT_NAME", help="Name of the experiment to make.")
    parser.add_argument(
        "--family",
        type=str,
        required=True,
        help="Model family: csm, sequence_bert, network_bert or autoencoder (of learning-from-brains), cbramod (EEG), "
        "cortex_mae (fMRI parcels), or hmm (of osl-dynamics).",
    )
    parser.add_argument(
        "--n_heads",
        type=int | None,
        default=None,
        help="Attention heads, which the weights do not determine; default: one per 64 dimensions of the embedding "
        "(cbramod: 8).",
    )
    parser.add_argument(
        "--time_precision",
        type=float | None,
        default=None,
        help="Resolution of the time embedding in seconds; default: 0.2.",
    )
    parser.add_argument(
        "--activation",
        type=str | None,
        default=None,
        help="Activation of the feed-forward layers; default: gelu_tanh.",
    )
    parser.add_argument(
        "--n_embeddings",
        type=int | None,
        default=None,
        help="hmm: number of embedded samples of the principal components; default: 15.",
    )
    parser.add_argument(
        "--sampling_frequency",
        type=float | None,
        default=None,
        help="hmm: sampling frequency in Hz; default: 250.",
    )
    parser.add_argument(
        "--channel_names",
        metavar="FILE",
        type=str,
        default=None,
        help="Text file with the names of networks or channels, one per line; default: network_0 (hmm: channel_0) "
        "and so on (cbramod: those of its pre-training).",
    )
    parser.add_argument(
        "--seen_participants",
        metavar="FILE",
        type=str,
        default=None,
        help="Text file with the participants whose data the weights were trained on, one per line: no testing "
        "subset may "
        "contain them.",
    )
    return parser.parse_args(arguments)


def run_weights_import(arguments: Namespace) -> None:
    """Import and say what was made."""
    if arguments.family == OF_OSL:
        _import_osl(arguments)
    elif arguments.family in CONFIGS_OF_PUBLISHED:
        _import_backbone(arguments)
    else:
        _import_learning_from_brains(arguments)


def _import_osl(arguments: Namespace) -> None:
    from dynml.exchange.osl_dynamics import SAMPLING_FREQUENCY, import_osl_hmm

    _refuse(arguments, ("n_heads", "time_precision", "activation"))
    rate = arguments.sampling_frequency
    if rate is None:
        text = (
            f"The files do not contain the sampling frequency: {SAMPLING_FREQUENCY:g} Hz is assumed; otherwise give "
            f"--sampling_frequency."
        )
        warnings.warn(text, DataWarning, stacklevel=2)
    folder, out = _experiment(arguments), Path(arguments.experiments_path) / arguments.experiment_name
    seen = _lines(arguments.seen_participants)
    further = {} if arguments.n_embeddings is None else {"n_embeddings": arguments.n_embeddings}
    osl = import_osl_hmm(
        Path(arguments.weights),
        out,
        sampling_frequency=SAMPLING_FREQUENCY if rate is None else rate,
        channel_names=_lines(arguments.channel_names),
        seen=seen or (),
        **further,
    )
    _tell_unseen(seen)
    n_states, n_components = osl.parameters.means_KC.shape
    print(f"{folder.path}: hmm of {n_states} states in {n_components} components.")
    say(f"Next: dynml_apply_preparation.py {out} NEW_FOLDER new.hdf5 --files PATTERN")
    say(f"Next: dynml_infer_from_model.py {out} new.hdf5 OUT_FOLDER")


def _import_learning_from_brains(arguments: Namespace) -> None:
    from dynml.exchange.published_weights import import_published_weights

    _refuse(arguments, ("n_embeddings", "sampling_frequency"))
    folder = _experiment(arguments)
    seen = _lines(arguments.seen_participants)
    given = {name: arguments[name] for name in ("time_precision", "activation") if arguments[name] is not None}
    converted = import_published_weights(
        Path(arguments.weights),
        folder,
        arguments.family,
        channel_names=_lines(arguments.channel_names),
        seen=seen or (),
        n_heads=arguments.n_heads,
        **given,
    )
    _tell_unseen(seen)
    if converted.caution is not None:
        warnings.warn(f"{converted.caution}.", DataWarning, stacklevel=2)
    if converted.left_out:
        names = ", ".join(converted.left_out)
        warnings.warn(f"The model here has no place for {names}: left out.", DataWarning, stacklevel=2)
    n_numbers = sum(tensor.numel() for tensor in converted.weights.values())
    print(f"{folder.path}: {converted.family} of {converted.n_channels} networks, {n_numbers} numbers.")
    print(f"Its settings, for training on from it: {_as_arguments(converted.family, converted.settings)}")


def _import_backbone(arguments: Namespace) -> None:
    from dynml.exchange.published_backbones import import_published_backbone

    _refuse(arguments, ("n_embeddings", "sampling_frequency", "time_precision", "activation"))
    folder = _experiment(arguments)
    seen = _lines(arguments.seen_participants)
    converted, config = import_published_backbone(
        Path(arguments.weights),
        folder,
        arguments.family,
        channel_names=_lines(arguments.channel_names),
        seen=seen or (),
        n_heads=arguments.n_heads,
    )
    _tell_unseen(seen)
    warnings.warn(f"{config.title}: {config.licence}.", DataWarning, stacklevel=2)
    n_numbers = sum(tensor.numel() for tensor in converted.weights.values())
    left_out = f"; {len(converted.left_out)} tensors of its way back to signals left out" if converted.left_out else ""
    print(
        f"{folder.path}: {config.title} of {config.n_layers} layers, {n_numbers} numbers in {len(converted.weights)} "
        f"tensors{left_out}."
    )
    say(f"Next: dynml_train_model.py decoding .. --pretrained {folder.path} --model.target COLUMN")


def _experiment(arguments: Namespace) -> ExperimentFolder:
    from dynml.training.checkpoints.experiment_folder import ExperimentFolder

    return ExperimentFolder(arguments.experiments_path, arguments.experiment_name)


def _refuse(arguments: Namespace, names: Sequence[str]) -> None:
    for name in names:
        if arguments[name] is not None:
            raise ConfigurationError(f"--{name}", arguments[name], f"left out for the family {arguments.family}")


def _tell_unseen(seen: Sequence[str] | None) -> None:
    if seen is None:
        text = (
            "The file does not say who the weights were trained on, so overlap with a testing subset cannot be found; "
            "--seen_participants says it."
        )
        warnings.warn(text, DataWarning, stacklevel=2)


def _lines(path: str | None) -> list[str] | None:
    if path is None:
        return None
    return [line.strip() for line in read_text(Path(path)).splitlines() if line.strip()]


def _as_arguments(family: str, settings: dict[str, Any]) -> str:
    """Settings that are not those by default, as on the command line."""
    defaults = {field.name: field.default for field in dataclasses.fields(get_family(family).config_classes()["model"])}
    own = {name: value for name, value in settings.items() if value != defaults[name]}
    return " ".join(f"--model.{name} {str(value).lower()}" for name, value in own.items())
