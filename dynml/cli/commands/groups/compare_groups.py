"""What dynml_compare_groups.py does: a table of results against a design, tested by permutation."""

from __future__ import annotations

from pathlib import Path

from dynml.cli.outputs.folders import check_output_folder, output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import ConfigurationError


def parse_comparison(description: str | None) -> Namespace:
    """Parse the command line of dynml_compare_groups.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("table", metavar="TABLE", help="results (.tsv, .csv) with a column of subjects, long or wide")
    parser.add_argument("participants", metavar="PARTICIPANTS", help="table with participant_id and variables")
    parser.add_argument("formula", metavar="FORMULA", type=str, help="design, such as 'group + age'; 1 for the mean")
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder for the results; must not exist or be empty")
    parser.add_argument(
        "--measures", nargs="+", type=str, metavar="COLUMN", help="columns of TABLE; default: all numbers"
    )
    parser.add_argument(
        "--keys",
        nargs="+",
        type=str,
        metavar="COLUMN",
        help="columns of TABLE that index the values (state, band)",
    )
    parser.add_argument("--test", nargs="+", type=str, metavar="TERM", help="terms of FORMULA to test; default: all")
    parser.add_argument(
        "--sessions",
        choices=["mean", "separate"],
        default="mean",
        help="several rows per participant: average them, or keep them (with --within or --whole)",
    )
    parser.add_argument(
        "--paired",
        type=str,
        metavar="COLUMN",
        help="column with two values, whose difference is tested within participants",
    )
    parser.add_argument("--within", type=str, metavar="COLUMN", help="permute only rows with the same value (site)")
    parser.add_argument("--whole", type=str, metavar="COLUMN", help="permute all rows of a value together (family)")
    parser.add_argument("--n_permutations", type=int, default=5000, help="permutations or sign flips")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the results in an existing folder")
    return parser.parse_args()


def run_comparison(arguments: Namespace) -> None:
    """Read, test, write."""
    from dynml.analysis.groups.comparison import ComparisonSettings, compare
    from dynml.analysis.groups.question import Asked, read_question
    from dynml.cli.outputs.people.comparison import write_comparison

    if arguments.n_permutations < 99:
        raise ConfigurationError("--n_permutations", arguments.n_permutations, "a whole number from 99")
    check_output_folder(Path(arguments.out_folder), force=arguments.force)
    asked = Asked(
        table=Path(arguments.table),
        participants=Path(arguments.participants),
        formula=str(arguments.formula),
        measures=arguments.measures,
        keys=arguments["keys"],
        sessions=arguments.sessions,
        paired=arguments.paired,
        within=arguments.within,
        whole=arguments.whole,
    )
    question = read_question(asked)
    settings = ComparisonSettings(
        n_permutations=arguments.n_permutations,
        seed=arguments.seed,
        terms=tuple(arguments.test or ()),
        is_difference=question.difference is not None,
    )
    results = compare(question.values, question.design, question.exchangeability, settings)
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out:
        for finding in write_comparison(out, asked, question, settings, results):
            print(f"Note: {finding}")
        print(f"Rows: {len(question.people)}, measures: {len(question.measures)}. Results: {out}")
