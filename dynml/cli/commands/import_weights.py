"""What dynml_import_weights.py does: from the command line to an experiment folder."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import DataWarning
from dynml.models.registry import get_family
from dynml.reading_files import read_text


def parse_weights(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Arguments of dynml_import_weights.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("weights_bin", metavar="WEIGHTS_BIN", help="Published weights, pytorch_model.bin.")
    parser.add_argument("experiments_path", metavar="EXPERIMENTS_PATH", help="Folder that holds experiments.")
    parser.add_argument("experiment_name", metavar="EXPERIMENT_NAME", help="Name of the experiment to make.")
    parser.add_argument(
        "--family",
        type=str,
        required=True,
        help="What the weights are of: csm, sequence_bert, network_bert or autoencoder.",
    )
    parser.add_argument(
        "--n_heads",
        type=int | None,
        default=None,
        help="Attention heads, which shapes do not tell; by default one for each 64 numbers of the embedding.",
    )
    parser.add_argument("--time_precision", type=float, default=0.2, help="Seconds of one row of the time embedding.")
    parser.add_argument("--activation", type=str, default="gelu_tanh", help="Activation of the feed-forward layers.")
    parser.add_argument(
        "--channel_names",
        metavar="FILE",
        type=str,
        default=None,
        help="Text file with the networks' names, one a line; by default network_0 and so on.",
    )
    parser.add_argument(
        "--seen_participants",
        metavar="FILE",
        type=str,
        default=None,
        help="Text file with the participants that the weights were trained on, one a line: no testing subset may "
        "hold them.",
    )
    return parser.parse_args(arguments)


def run_weights_import(arguments: Namespace) -> None:
    """Import and say what was made."""
    from dynml.exchange.published_weights import import_published_weights
    from dynml.training.checkpoints.experiment_folder import ExperimentFolder

    folder = ExperimentFolder(arguments.experiments_path, arguments.experiment_name)
    seen = _lines(arguments.seen_participants)
    converted = import_published_weights(
        Path(arguments.weights_bin),
        folder,
        arguments.family,
        channel_names=_lines(arguments.channel_names),
        seen=seen or (),
        n_heads=arguments.n_heads,
        time_precision=arguments.time_precision,
        activation=arguments.activation,
    )
    if seen is None:
        text = (
            "The file does not say who the weights were trained on, so overlap with a testing subset cannot be found; "
            "--seen_participants says it."
        )
        warnings.warn(text, DataWarning, stacklevel=2)
    if converted.caution is not None:
        warnings.warn(f"{converted.caution}.", DataWarning, stacklevel=2)
    if converted.without_place:
        names = ", ".join(converted.without_place)
        warnings.warn(f"The model here has no place for {names}: left out.", DataWarning, stacklevel=2)
    n_numbers = sum(tensor.numel() for tensor in converted.weights.values())
    print(f"{folder.path}: {converted.family} of {converted.n_channels} networks, {n_numbers} numbers.")
    print(f"Its settings, for training on from it: {_as_arguments(converted.family, converted.settings)}")


def _lines(path: str | None) -> list[str] | None:
    if path is None:
        return None
    return [line.strip() for line in read_text(Path(path)).splitlines() if line.strip()]


def _as_arguments(family: str, settings: dict[str, Any]) -> str:
    """Settings that are not those by default, as on the command line."""
    defaults = {field.name: field.default for field in dataclasses.fields(get_family(family).config_classes()["model"])}
    own = {name: value for name, value in settings.items() if value != defaults[name]}
    return " ".join(f"--model.{name} {str(value).lower()}" for name, value in own.items())
