"""Arguments of the scripts that give data to a trained model, and the model and the data that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import ConfigurationError

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment

EXPERIMENT_HELP = "EXPERIMENTS_PATH/EXPERIMENT_NAME, or the folder of an exported model"
OF_CHANNELS = "store with the channels of the training data"


def add_paths(parser: ScriptParser, *, hdf5: str = OF_CHANNELS) -> None:
    """Add EXPERIMENT_PATH and HDF5."""
    parser.add_argument("experiment_path", metavar="EXPERIMENT_PATH", help=EXPERIMENT_HELP)
    parser.add_argument("hdf5_file", metavar="HDF5", help=hdf5)


def add_out_folder(parser: ScriptParser) -> None:
    """Add OUT_FOLDER."""
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder for the results; must not exist or be empty")


def add_group(parser: ScriptParser) -> None:
    """Add `--group`."""
    parser.add_argument("--group", type=str, help="group of the store; default: the group of the training")


def add_subset(parser: ScriptParser) -> None:
    """Add `--subset`; see `subsets_given`."""
    choices = ["training", "validation", "testing", "all"]
    parser.add_argument("--subset", choices=choices, default="all", help="subjects to use")


def add_model_options(parser: ScriptParser, *, force: str = "overwrite the results in an existing folder") -> None:
    """Add what `experiment_given` and `dataset_given` ask for, and `-f`."""
    add_comparison_options(parser)
    parser.add_argument("--use_latest_epoch", action="store_true", help="use the latest epoch instead of the best one")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, ...")
    parser.add_argument("-f", "--force", action="store_true", help=force)


def add_comparison_options(parser: ScriptParser) -> None:
    """Add `--other_preparation` and `--subsets_of`."""
    parser.add_argument(
        "--other_preparation",
        choices=["refuse", "allow"],
        default="refuse",
        help="what to do with data that were prepared differently from the training data: stop, or continue with a "
        "warning",
    )
    parser.add_argument(
        "--subsets_of",
        choices=["training", "store"],
        default="training",
        help="subsets to use: those of the training, which may have been drawn anew, or the store's own",
    )


def experiment_given(arguments: Namespace) -> Experiment:
    """Load the model."""
    from dynml.models.experiment import load_experiment

    return load_experiment(arguments.experiment_path, latest=arguments.use_latest_epoch, device=arguments.device)


def dataset_given(experiment: Experiment, arguments: Namespace, group: str | None) -> MultiSubjectDataset:
    """Open the store as the model takes it; None: the group of the training."""
    return experiment.open(
        arguments.hdf5_file,
        group=group,
        other_preparation=arguments.other_preparation,
        subsets_of=arguments.subsets_of,
    )


def subsets_given(arguments: Namespace, dataset: MultiSubjectDataset | None = None) -> Sequence[str]:
    """Names of the subsets that `--subset` means.

    Raises
    ------
    ConfigurationError
        When `dataset` has no subject in them.
    """
    from dynml.models.experiment import SUBSETS

    names = SUBSETS if arguments.subset == "all" else (arguments.subset,)
    if dataset is not None and not any(len(dataset.subset(name).subjects) for name in names):
        there = [name for name in SUBSETS if len(dataset.subset(name).subjects)]
        accepted = f"a subset that has subjects in {arguments.hdf5_file} ({', '.join(there) or 'none has'})"
        raise ConfigurationError("--subset", arguments.subset, accepted)
    return names
