"""Arguments of the scripts that make and look into stores."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import DataError

STORE_HELP = "Store made by dynml_create_hdf5_dataset.py."


SOURCE_HELP = "Folder that holds one folder per subject, or BIDS derivatives, or a table of files (.csv, .tsv)."
JOBS_HELP = "Processes that read and prepare subjects; the result is the same."
NO_LIST = "-"


def parse_creation(description: str | None) -> Namespace:
    """Arguments of dynml_create_hdf5_dataset.py."""
    is_asked = not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    parser = ScriptParser(description=f"{description}\n{_keys_formats_and_steps()}" if is_asked else description)
    parser.add_argument("ready_folder", metavar="READY_FOLDER", help=SOURCE_HELP)
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="Store to write; the name ends in .hdf5 or .h5.")
    parser.add_argument(
        "config_json",
        metavar="CONFIG_JSON",
        help="JSON file that defines the groups of the store; see above.",
    )
    for subset in ("training", "validation", "testing"):
        parser.add_argument(
            f"{subset}_subjs",
            metavar=f"{subset.upper()}_SUBJS",
            nargs="?",
            default=None,
            help=f"Text file with the names of the {subset} subjects, one per line; may be empty, or - for none.",
        )
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT_HDF5, once the new one is complete.")
    parser.add_argument(
        "--add", action="store_true", help="Add the subjects to OUT_HDF5, which was made with the same CONFIG_JSON."
    )
    parser.add_argument(
        "--draw_subsets",
        metavar="SUBSET=SHARE",
        type=str,
        nargs="+",
        default=None,
        help="Draw the subsets at random by participant instead of by lists, such as validation=0.1 testing=0.1.",
    )
    parser.add_argument("--seed", type=int, default=None, help="Seed of --draw_subsets; 0 by default.")
    parser.add_argument(
        "--stratify",
        metavar="COLUMN",
        type=str,
        default=None,
        help="Covariate by which the drawn subsets are stratified.",
    )
    parser.add_argument(
        "--part",
        metavar="NUMBER/OF",
        type=str,
        default=None,
        help="Make one of several parts, such as 3/8, as OUT.part-3-of-8.hdf5; dynml_join_hdf5_datasets.py joins them. "
        "Existing parts are kept.",
    )
    parser.add_argument("--n_jobs", type=int, default=1, help=JOBS_HELP)
    return parser.parse_args()


def parse_joining(description: str | None) -> Namespace:
    """Arguments of dynml_join_hdf5_datasets.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="Store to write; the name ends in .hdf5 or .h5.")
    parser.add_argument(
        "parts",
        metavar="PART",
        nargs="*",
        default=[],
        help="Stores to join, in this order; default: all parts of OUT_HDF5.",
    )
    parser.add_argument("--copy", action="store_true", help="Copy the subjects instead of linking to them.")
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT_HDF5, once the new one is complete.")
    return parser.parse_args()


def _keys_formats_and_steps() -> str:
    """What there is, other packages' additions included; imported here, since only the creation needs it."""
    from dynml.conversion.keys import parameters_of_steps, sections_of_keys
    from dynml.preparation.chain import step_names
    from dynml.readers.formats import known_extensions

    lines = []
    for where, keys in sections_of_keys().items():
        lines += ["", f"Keys of {where}:", *(_row(name, *key) for name, key in keys.items())]
    lines += ["", _filled(f"Formats of files: {', '.join(known_extensions())}.", "  ")]
    lines += ["", _filled(f"Steps of preparation: {', '.join(step_names())}.", "  ")]
    for name, keys in parameters_of_steps().items():
        lines += [
            "",
            f"Parameters of the step {name}:" if keys else f"The step {name} has no parameter.",
            *(_row(one, *key) for one, key in keys.items()),
        ]
    return "\n".join(lines)


def _row(name: str, default: str, text: str) -> str:
    shown = "" if default in ("null", "[]", "{}") else f" ({default})"
    return _filled(f"  {name:<24} {text}{shown}", " " * 27)


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_on_hyphens=False)


def lists_of(arguments: Namespace) -> dict[str, Path]:
    """Lists of subjects that are given: none, or all three.

    Raises
    ------
    DataError
        When only some are given, and the others are not `-`.
    """
    given = {subset: arguments[f"{subset}_subjs"] for subset in ("training", "validation", "testing")}
    lists = {subset: Path(path) for subset, path in given.items() if path not in (None, NO_LIST)}
    lacking = [subset for subset, path in given.items() if path is None]
    if lists and lacking:
        raise DataError(f"The list of {lacking[0]} subjects is not given; give all three lists, - for an empty one.")
    return lists


def draw_of(arguments: Namespace) -> dict[str, Any] | None:
    """Settings of a draw of the subsets, or None where none is asked for.

    Raises
    ------
    DataError
        For a text that is not SUBSET=SHARE, or settings of a draw without one.
    """
    if arguments.draw_subsets is None:
        for name in ("seed", "stratify"):
            if arguments[name] is not None:
                raise DataError(f"--{name} is a setting of --draw_subsets, which is not given.")
        return None
    settings: dict[str, Any] = {}
    for text in arguments.draw_subsets:
        subset, _, share = text.partition("=")
        if subset not in ("validation", "testing") or subset in settings:
            raise DataError(f"--draw_subsets has {text!r}, but takes validation=SHARE and testing=SHARE, each once.")
        try:
            settings[subset] = float(share)
        except ValueError as error:
            raise DataError(f"--draw_subsets has {text!r}, whose share is not a number.") from error
    given = {"seed": arguments.seed, "stratify": arguments.stratify}
    return settings | {name: value for name, value in given.items() if value is not None}


def parse_application(description: str | None) -> Namespace:
    """Arguments of dynml_apply_preparation.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=f"{STORE_HELP[:-1]}, or the folder of an exported model.")
    parser.add_argument("ready_folder", metavar="READY_FOLDER", help=SOURCE_HELP)
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="Store to write; the name ends in .hdf5 or .h5.")
    parser.add_argument(
        "--groups",
        metavar="GROUP",
        type=str,
        nargs="+",
        default=None,
        help="Groups that the new subjects have; default: all of HDF5.",
    )
    parser.add_argument(
        "--files",
        metavar="PATTERN",
        type=str,
        nargs="+",
        default=None,
        help="Patterns of the new subjects' files, such as run-*.npy, instead of those of the config.",
    )
    parser.add_argument(
        "--subjects",
        metavar="LIST",
        type=str,
        default=None,
        help="Text file with the names of the subjects to use, one per line; default: all.",
    )
    parser.add_argument(
        "--subset",
        type=str,
        default=None,
        help="Subset of the subjects: training, validation or testing (the default).",
    )
    parser.add_argument(
        "--participants",
        metavar="TSV",
        type=str,
        default=None,
        help="Table that assigns subjects to participants; by default each subject is a participant.",
    )
    parser.add_argument(
        "--config_folder",
        metavar="FOLDER",
        type=str,
        default=None,
        help="Folder to which paths in the stored config (such as an atlas) are relative; default: the folder of HDF5.",
    )
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT_HDF5, once the new one is complete.")
    parser.add_argument("--n_jobs", type=int, default=1, help=JOBS_HELP)
    return parser.parse_args()


def parse_printing(description: str | None) -> Namespace:
    """Arguments of dynml_hdf5_print_architecture.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=STORE_HELP)
    parser.add_argument("--group", type=str, default=None, help="Print this group only.")
    return parser.parse_args()


def parse_verification(description: str | None) -> Namespace:
    """Arguments of dynml_hdf5_verify.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=STORE_HELP)
    return parser.parse_args()


def parse_extraction(description: str | None) -> Namespace:
    """Arguments of dynml_hdf5_extract_data.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=STORE_HELP)
    parser.add_argument("subject", metavar="SUBJECT", help="Name of the subject in the store.")
    parser.add_argument("group", metavar="GROUP", help="Name of the group.")
    parser.add_argument("out", metavar="OUT", help="File to write: .npy (time x channels), or .tsv with channel names.")
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT if it exists.")
    parser.add_argument(
        "--original_units",
        action="store_true",
        help="Undo the standardization, by the stored means and standard deviations.",
    )
    return parser.parse_args()
