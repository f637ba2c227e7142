"""What dynml_check_model.py does: verdicts on whether what a model has found is dynamics."""

from __future__ import annotations

from pathlib import Path

from dynml.analysis.checks.verdicts import CHECKS
from dynml.cli.model_options import add_group, add_model_options, add_paths, dataset_given, experiment_given
from dynml.cli.outputs.folders import check_output_folder, output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import ConfigurationError

MARKS = {True: "holds", False: "does not hold", None: "not made"}


def parse_check(description: str | None) -> Namespace:
    """Parse the command line of dynml_check_model.py."""
    parser = ScriptParser(description=description)
    add_paths(parser)
    parser.add_argument(
        "out_folder",
        metavar="OUT_FOLDER",
        nargs="?",
        default=None,
        help="folder for the results; must not exist or be empty; default: EXPERIMENT_PATH_check",
    )
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=list(CHECKS), help="checks to run")
    parser.add_argument(
        "--n_surrogates",
        type=int,
        default=5,
        help="surrogate data sets of each of the two kinds; the model is refitted to each; 0: none",
    )
    parser.add_argument(
        "--n_draws",
        type=int,
        default=19,
        help="data sets that are simulated from the model for the predictive check",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    add_group(parser)
    add_model_options(parser)
    return parser.parse_args()


def run_check(arguments: Namespace) -> None:
    """Load the model, make the checks, write and print the verdicts."""
    from dynml.analysis.checks.checked import CheckSettings, checked
    from dynml.analysis.checks.refitting import check_can_be_refitted
    from dynml.cli.outputs.checks import write_checks

    for name in ("n_surrogates", "n_draws", "seed"):
        if arguments[name] < 0:
            raise ConfigurationError(f"--{name}", arguments[name], "a whole number from 0")
    folder = out_folder(arguments)
    check_output_folder(folder, force=arguments.force)
    experiment = experiment_given(arguments)
    check_can_be_refitted(experiment)
    dataset = dataset_given(experiment, arguments, arguments.group)
    settings = CheckSettings(
        checks=tuple(arguments.checks),
        n_surrogates=arguments.n_surrogates,
        n_draws=arguments.n_draws,
        seed=arguments.seed,
        device=arguments.device,
    )
    with output_folder(folder, force=arguments.force) as out:
        found = checked(experiment, dataset, settings)
        write_checks(out, found, experiment, settings)
        for one in found.verdicts.values():
            print(f"{one.name}: {MARKS[one.holds]}. {one.sentence}")
        print(f"Results: {out}")


def out_folder(arguments: Namespace) -> Path:
    """The folder that is given, or NAME_check beside the experiment."""
    if arguments.out_folder is not None:
        return Path(arguments.out_folder)
    experiment = Path(arguments.experiment_path).resolve()
    return experiment.with_name(f"{experiment.name}_check")
