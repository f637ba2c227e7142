"""What dynml_import_webdataset.py does: from the command line to a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.cli.verbosity import shows_progress

SUBSETS = ("training", "validation", "testing")


def parse_import(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Arguments of dynml_import_webdataset.py."""
    parser = ScriptParser(description=description)
    parser.add_argument(
        "inputs",
        metavar="FOLDER_OR_TARS",
        nargs="+",
        help="Tar files, or folders (or folders of folders) of tar files.",
    )
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="Store to write; the name ends in .hdf5 or .h5.")
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT_HDF5, once the new one is complete.")
    parser.add_argument("--group", type=str, default="bold", help="Name of the signals' group in the store.")
    for subset in SUBSETS:
        parser.add_argument(
            f"--{subset}",
            metavar="FILE",
            type=str,
            default=None,
            help=f"Text file with the {subset} participants (ds-<dataset>_sub-<id>) or subjects, one per line.",
        )
    for subset in SUBSETS[1:]:
        parser.add_argument(
            f"--{subset}_fraction",
            type=float,
            default=0.0,
            help=f"Fraction of the participants drawn for {subset}, if there are no lists.",
        )
    parser.add_argument("--seed", type=int, default=0, help="Seed of this draw.")
    parser.add_argument(
        "--standardization",
        type=str,
        default="none",
        help="none: keep the signals as they are in the tars, usually z-scored; per_run: z-score them in each tar.",
    )
    parser.add_argument(
        "--allow_mixed_sampling_frequency", action="store_true", help="Runs may differ in their repetition time."
    )
    parser.add_argument(
        "--target_names",
        "--target-names",
        metavar="JSON",
        type=str,
        default=None,
        help='Names of labels, as {"task_label": {"0": "rest", "1": "motor"}}; default: the codes are the names.',
    )
    return parser.parse_args(arguments)


def run_import(arguments: Namespace) -> None:
    """Import and say what was made."""
    from dynml.exchange.webdataset_import import TarImport, import_webdataset

    settings = TarImport(
        inputs=[Path(path) for path in arguments.inputs],
        group=arguments.group,
        lists={subset: Path(arguments[subset]) for subset in SUBSETS if arguments[subset] is not None},
        validation_fraction=arguments.validation_fraction,
        testing_fraction=arguments.testing_fraction,
        seed=arguments.seed,
        standardization=arguments.standardization,
        allow_mixed_sampling_frequency=arguments.allow_mixed_sampling_frequency,
        target_names=None if arguments.target_names is None else Path(arguments.target_names),
    )
    print(import_webdataset(settings, Path(arguments.out_hdf5), overwrite=arguments.force, progress=shows_progress()))
