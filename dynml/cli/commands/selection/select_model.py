"""What dynml_select_model.py does: every setting, seed and fold in one pool, then a ranking, and the chosen model."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynml.cli.commands.run_request import RunRequest
from dynml.cli.commands.selection.grid import Setting, settings_of_grid
from dynml.cli.commands.selection.selection_request import SelectionRequest
from dynml.cli.commands.train import LOGGERS, add_settings, family_on_command_line, parsed_trainings
from dynml.cli.help import HELP_ALL
from dynml.cli.parsing import ScriptParser
from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError
from dynml.models.registry import family_names

OWN_OPTIONS = ("--grid", "--seeds", "--folds", "--n_jobs", "--split_halves", "--surrogates")

OWN_SETTINGS = (
    *("trainer.seed", "dataset.folds", "dataset.fold", "dataset.held_out"),
    *(f"{group}.{one.name}" for group, kind in LOGGERS.items() for one in dataclasses.fields(kind)),
)
"""Settings of runs that a selection chooses by itself, or refuses."""


def parse_selection(description: str | None) -> SelectionRequest:
    """Parse the command line of dynml_select_model.py; every setting is checked before anything runs."""
    own, of_training = _apart(sys.argv[1:])
    is_help = bool({"-h", "--help", HELP_ALL, "--version"} & set(sys.argv[1:]))
    family = family_on_command_line(of_training)
    parser = ScriptParser(
        description=description,
        usual=family.usual_settings if family else (),
        unused=(*OWN_SETTINGS, *(family.unused_settings if family else ())),
        beside="--grid KEY=VALUES ..",
    )
    _add_arguments(parser)
    _add_own_options(parser)
    groups = add_settings(parser, family)
    if family is None or is_help:
        parser.parse_args(sys.argv[1:])
        raise AssertionError("a command line without a family does not parse")
    if family.held_out_scores is None:
        raise ConfigurationError("FAMILY", family.name, "a family with `held_out_scores`, by which runs are compared")
    alone = ScriptParser(description=description)
    _add_own_options(alone)
    options = alone.parse_args([one for key, one in own if key != "--grid"])
    check_at_least("--seeds", options.seeds, 1)
    check_at_least("--folds", options.folds, 2, optional=True)
    check_at_least("--n_jobs", options.n_jobs, 1, optional=True)
    grid = settings_of_grid([one for key, one in own if key == "--grid"], groups)
    requests = _requests(description, of_training, grid)
    _check_settings(requests[0][1])
    return SelectionRequest(
        root=Path(requests[0][1].experiments_path) / requests[0][1].experiment_name,
        requests=requests,
        seeds=options.seeds,
        folds=options.folds,
        n_jobs=options.n_jobs,
        split_halves=options.split_halves,
        surrogates=options.surrogates,
    )


def _add_arguments(parser: ScriptParser) -> None:
    parser.add_argument("family", metavar="FAMILY", help=f"one of: {', '.join(family_names())}")
    parser.add_argument("experiments_path", metavar="EXPERIMENTS_PATH", help="folder of all experiments")
    parser.add_argument("experiment_name", metavar="NAME", help="name of the selection's new folder")
    parser.add_argument("hdf5_file", metavar="HDF5", help="store made by dynml_create_hdf5_dataset.py")
    parser.add_argument("input_group", metavar="GROUP", help="group of the store to train on")
    parser.add_argument("--config", action="config", help="YAML file of settings, or name of a recipe")
    parser.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="KEY=VALUES",
        help="settings to try in all combinations, such as model.n_states=2:12 model.covariance_type=full,diagonal",
    )


def _add_own_options(parser: ScriptParser) -> None:
    """Add the options that no training has."""
    parser.add_argument("--seeds", type=int, default=5, help="number of runs per setting and fold, with seeds 0, 1, ..")
    parser.add_argument(
        "--folds",
        type=int,
        help="folds of the participants, each held out once; default: 5, or one per participant if there are fewer",
    )
    parser.add_argument("--n_jobs", type=int, help="number of processes; default: one per CPU, or one on a GPU")
    parser.add_argument(
        "--split_halves",
        type=bool,
        default=True,
        help="also train on each half of the participants and compare the results",
    )
    parser.add_argument(
        "--surrogates",
        type=bool,
        default=True,
        help="also train the best-ranked setting on stationary surrogate data, which have no states",
    )


def _apart(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Own options, as (option, argument), and what a training command would be given."""
    own, others = list[tuple[str, str]](), list[str]()
    option = None
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in OWN_OPTIONS:
            option = None if equals else key
            own += [(key, value if key == "--grid" else argument)] if equals or key != "--grid" else []
        elif option is not None and not argument.startswith("-"):
            own.append((option, argument))
            option = option if option == "--grid" else None
        else:
            option = None
            others.append(argument)
    return own, others


def _requests(
    description: str | None, arguments: Sequence[str], grid: Sequence[Setting]
) -> list[tuple[dict[str, Any], RunRequest]]:
    """Make the run of each setting, exactly as the training command would; settings with their typed values."""
    lines = [[*arguments, *(f"--{key}={value}" for key, value in setting.items())] for setting in grid]
    return [
        (_typed(setting, request), request)
        for setting, request in zip(grid, parsed_trainings(description, lines), strict=True)
    ]


def _typed(setting: Setting, request: RunRequest) -> dict[str, Any]:
    """Values of a setting as its Config classes have them."""
    typed = {}
    for key in setting:
        group, _, name = key.partition(".")
        typed[key] = getattr(request.configs[group], name)
    return typed


def _check_settings(request: RunRequest) -> None:
    config = request.configs["dataset"]
    if config.folds is not None or config.held_out != "validation":
        raise ConfigurationError("dataset.folds", config.folds, "absent; --folds N cuts the participants into N parts")
    for group, config_class in LOGGERS.items():
        if request.configs[group] != config_class():
            raise ConfigurationError(group, "given", "absent: the runs of a selection are not reported elsewhere")
    if request.resume == "anew":
        raise ConfigurationError("--resume", "anew", "absent: a selection always goes on; use another NAME to begin")
