"""Arguments of the scripts that make and look into stores."""

from __future__ import annotations

from dynml.cli.parsing import Namespace, ScriptParser

STORE_HELP = "Store made by dynml_create_hdf5_dataset.py."


def parse_creation(description: str | None) -> Namespace:
    """Arguments of dynml_create_hdf5_dataset.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("ready_folder", metavar="READY_FOLDER", help="Folder that holds one folder a subject.")
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="Store to make; its name ends in .hdf5 or .h5.")
    parser.add_argument("config_json", metavar="CONFIG_JSON", help="What the store is to hold; see above.")
    for subset in ("training", "validation", "testing"):
        parser.add_argument(
            f"{subset}_subjs",
            metavar=f"{subset.upper()}_SUBJS",
            help=f"Text file with the names of the {subset} subjects, one a line; may be empty.",
        )
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT_HDF5, once the new one is complete.")
    return parser.parse_args()


def parse_printing(description: str | None) -> Namespace:
    """Arguments of dynml_hdf5_print_architecture.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=STORE_HELP)
    parser.add_argument("--group", type=str, default=None, help="Tell of this group only.")
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
    parser.add_argument("subject", metavar="SUBJECT", help="Name of the subject, as the store has it.")
    parser.add_argument("group", metavar="GROUP", help="Name of the group.")
    parser.add_argument("out", metavar="OUT", help="File to write: .npy (time x channels), or .tsv with channel names.")
    parser.add_argument("-f", "--force", action="store_true", help="Replace OUT if it exists.")
    parser.add_argument(
        "--original_units", action="store_true", help="Undo the standardization by the means and deviations stored."
    )
    return parser.parse_args()
