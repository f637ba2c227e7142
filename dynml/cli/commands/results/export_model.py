"""What dynml_export_model.py does: from a trained model, or one on the Hugging Face hub, to a folder to give away."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.cli.verbosity import say


def parse_export(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line of dynml_export_model.py."""
    parser = ScriptParser(description=description)
    parser.add_argument(
        "experiment_path",
        metavar="EXPERIMENT_PATH",
        help="EXPERIMENTS_PATH/EXPERIMENT_NAME; or hf://USER/NAME, to fetch an exported model from the hub",
    )
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder to make; must not exist")
    parser.add_argument("--hdf5", metavar="HDF5", type=str, help="store of the training, if it has been moved")
    parser.add_argument(
        "--without_preparation",
        action="store_true",
        help="leave out the preparation of recordings; the store is then not needed",
    )
    parser.add_argument(
        "--license",
        metavar="NAME",
        type=str,
        default="",
        help="licence for the model card, such as cc-by-4.0",
    )
    parser.add_argument(
        "--data",
        metavar="TEXT",
        type=str,
        default="",
        help="description of the training data, for the model card",
    )
    parser.add_argument(
        "--title",
        metavar="TEXT",
        type=str,
        help="title of the model card; default: the experiment's name",
    )
    parser.add_argument("--push", metavar="USER/NAME", type=str, help="also upload the folder to the Hugging Face hub")
    parser.add_argument("--public", action="store_true", help="with --push: make it public")
    return parser.parse_args(arguments)


def run_export(arguments: Namespace) -> None:
    """Export, or fetch, and say how the folder is used."""
    from dynml.exchange.exported.hub import ADDRESS, pull, push
    from dynml.files import read_json

    out = Path(arguments.out_folder)
    if arguments.experiment_path.startswith(ADDRESS):
        pull(arguments.experiment_path, out)
        print(f"{arguments.experiment_path} was fetched. Results: {out}")
    else:
        print(f"{_exported(arguments, out)} Results: {out}")
    if arguments.push is not None:
        print(f"Pushed: {push(out, arguments.push, public=arguments.public)}")
    dataset = read_json(out / "config.json")["dataset"]
    several = len(dataset.get("groups") or ()) > 1
    of_groups, of_group = ([option, dataset["group"]] if several else [] for option in ("--groups", "--group"))
    if (out / "preparation.json").is_file():
        say(f"Next: {shlex.join(['dynml_apply_preparation.py', str(out), 'NEW_FOLDER', 'new.hdf5', *of_groups])}")
    say(f"Next: {shlex.join(['dynml_infer_from_model.py', str(out), 'new.hdf5', 'OUT_FOLDER', *of_group])}")


def _exported(arguments: Namespace, out: Path) -> str:
    from dynml.exchange.exported.exporting import About, export_experiment

    exported = export_experiment(
        Path(arguments.experiment_path),
        out,
        store=None if arguments.hdf5 is None else Path(arguments.hdf5),
        with_preparation=not arguments.without_preparation,
        about=About(title=arguments.title, data=arguments.data, licence=arguments.license),
    )
    n_numbers = sum(tensor.numel() for tensor in exported.weights.values())
    prepared = "with" if exported.preparation is not None else "without"
    return f"{exported.parameters['family']}, {n_numbers} numbers, {prepared} the preparation of recordings."
