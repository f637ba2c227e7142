"""Options of the scripts that give data to a trained model: what to do where these are not like its training data."""

from __future__ import annotations

from dynml.cli.parsing import ScriptParser


def add_comparison_options(parser: ScriptParser) -> None:
    """Add `--other_preparation` and `--subsets_of`."""
    parser.add_argument(
        "--other_preparation",
        choices=["refuse", "allow"],
        default="refuse",
        help="data that were prepared otherwise than the training data: refuse them, or go on with a warning",
    )
    parser.add_argument(
        "--subsets_of",
        choices=["training", "store"],
        default="training",
        help="where the training drew its subsets anew: take those, or the store's own",
    )
