"""What the training and the resume script share: from arguments or parameters.json to a trainer, and its last words."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.commands.run_request import RunRequest
from dynml.cli.outputs.run_figures import figures_of_run
from dynml.cli.parsing import ScriptParser
from dynml.cli.shipped import with_recipes
from dynml.cli.verbosity import compilation_told, say, shows_progress
from dynml.configuration import config_from
from dynml.dataset.config import DatasetConfig
from dynml.errors import CheckpointError, DataError
from dynml.models.build import settled_trainer
from dynml.models.registry import Family, family_names, get_family, load, recorded_family
from dynml.reading_files import is_there
from dynml.training.loggers.config import CometConfig, TensorBoardConfig

if TYPE_CHECKING:
    from dynml.training.trainer import Trainer

LOGGERS: dict[str, type[Any]] = {"comet": CometConfig, "tensorboard": TensorBoardConfig}
"""Groups of settings of the loggers that a run is reported to."""

SCORES = {
    "l1": "mean absolute error, lower is better",
    "l2": "mean squared error, lower is better",
    "huber": "Huber's loss, lower is better",
    "cross_entropy": "accuracy, higher is better",
    "binary_cross_entropy": "mean area under the ROC curve, higher is better",
    "squared_error": "R^2, higher is better",
}
"""Title of the table that closes a run, by the name of its loss."""


def parse_training(
    description: str | None, arguments: Sequence[str] | None = None, *, of_estimate: bool = False
) -> RunRequest:
    """Parse the command line of dynml_train_model.py; settings of the family named on it are among the options.

    Parameters
    ----------
    description : str or None
    arguments : sequence of str, optional
        In place of those of this process.
    of_estimate : bool
        For a run that is only to be estimated: no experiment is named, and none is gone on with.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return parsed_trainings(description, [given], of_estimate=of_estimate)[0]


def parsed_trainings(
    description: str | None, command_lines: Sequence[Sequence[str]], *, of_estimate: bool = False
) -> list[RunRequest]:
    """Parse command lines that differ in settings alone, by one parser: to make it takes longer than to parse."""
    family = family_on_command_line(command_lines[0])
    parser, groups = _training_parser(description, family, of_estimate)
    return [_parsed_training(parser, groups, family, list(given), of_estimate) for given in command_lines]


def _training_parser(
    description: str | None, family: Family | None, of_estimate: bool
) -> tuple[ScriptParser, dict[str, type[Any]]]:
    """Make the parser of a training, and say which Config class each group of settings has."""
    parser = ScriptParser(
        description=description,
        usual=family.usual_settings if family else (),
        unused=family.unused_settings if family else (),
    )
    parser.add_argument("family", metavar="FAMILY", help=", ".join(family_names()))
    if not of_estimate:
        parser.add_argument("experiments_path", metavar="EXPERIMENTS_PATH", help="folder of all experiments")
        parser.add_argument("experiment_name", metavar="EXPERIMENT_NAME", help="name of the experiment's new folder")
    parser.add_argument("hdf5_file", metavar="HDF5", help="store to train on")
    parser.add_argument("input_group", metavar="INPUT_GROUP", help="group of the store")
    parser.add_argument("--config", action="config", help="YAML file of settings, or name of a recipe")
    parser.add_argument("--pretrained", metavar="EXPERIMENT_PATH", help="start from the best model of an experiment")
    if not of_estimate:
        parser.add_argument(
            "--resume",
            choices=["auto", "anew"],
            help="auto: continue if the experiment exists, so that the command can be repeated; anew: move an "
            "existing folder to EXPERIMENT_NAME.before_DATE, and start again",
        )
    return parser, add_settings(parser, family)


def _parsed_training(
    parser: ScriptParser, groups: dict[str, type[Any]], family: Family | None, given: list[str], of_estimate: bool
) -> RunRequest:
    namespace = parser.parse_args(with_recipes([_without_alias(argument) for argument in given]))
    assert family is not None, "a command line without a family does not parse"
    configs = {group: parser.build(namespace, group, config_class) for group, config_class in groups.items()}
    if family.settle is not None:
        configs = family.given_back("settle", configs, load(family.settle)(configs))
    experiment = {} if of_estimate else {key: namespace[key] for key in ("experiments_path", "experiment_name")}
    return RunRequest(
        family,
        **{"experiments_path": "", "experiment_name": "", **experiment},
        hdf5_file=namespace.hdf5_file,
        input_group=namespace.input_group,
        configs=configs,
        resume="refuse" if of_estimate else namespace.resume or "refuse",
        pretrained=namespace.pretrained,
    )


def add_settings(parser: ScriptParser, family: Family | None) -> dict[str, type[Any]]:
    """Add the settings of a family's run to a parser; gives the Config class of each group."""
    groups = {"dataset": DatasetConfig} | (family.config_classes() if family else {}) | LOGGERS
    for group, config_class in groups.items():
        parser.add_argument(f"--{group}", type=config_class)
        parser.set_defaults({f"{group}.{name}": value for name, value in _defaults(family, group).items()})
    return groups


def request_from_parameters(
    parameters: dict[str, Any],
    experiment: Path,
    changes: dict[str, dict[str, Any]],
    hdf5_file: str | None,
    *,
    force: bool,
) -> RunRequest:
    """Ask for a run as its parameters.json states it, with some settings changed.

    Parameters
    ----------
    parameters : dict
        Content of parameters.json.
    experiment : Path
        The experiment's folder.
    changes : dict
        group -> setting -> new value; None values are left as they are.
    hdf5_file : str or None
        Where the store is now, if it moved.
    force : bool
        Go on although model, data or seed differ.
    """
    if parameters["family"] is None:
        raise CheckpointError(
            f"The run {experiment} trains a model that was built in Python: go on there, by the same objects and "
            'resume="auto" of the trainer.'
        )
    family = recorded_family(parameters)
    classes: dict[str, type[Any]] = {"dataset": DatasetConfig, **family.config_classes(), **LOGGERS}
    dataset = parameters["dataset"]
    if hdf5_file is None and dataset["hdf5_file"] is None:
        raise CheckpointError(
            f"The run {experiment} was made from arrays: resume it in Python, or give --hdf5_file with the same data."
        )
    if hdf5_file is None and not is_there(Path(dataset["hdf5_file"])):
        raise CheckpointError(
            f"The store {dataset['hdf5_file']} of the run {experiment} is not there: say by --hdf5_file where it is "
            "now (a relative path counts from the current folder)."
        )
    stored = {group: dict(parameters.get(group) or {}) for group in classes if group != "dataset"}
    stored["dataset"] = dict(dataset["config"])
    for group, values in changes.items():
        stored[group] |= {name: value for name, value in values.items() if value is not None}
    configs = {group: config_from(kind, stored[group], group, parameters) for group, kind in classes.items()}
    return RunRequest(
        family=family,
        experiments_path=str(experiment.parent),
        experiment_name=experiment.name,
        hdf5_file=hdf5_file or dataset["hdf5_file"],
        input_group=dataset["group"],
        configs=configs,
        resume="force" if force else "auto",
        pretrained=parameters.get("pretrained"),
        asked=parameters.get("asked") or {},
    )


def build_trainer(request: RunRequest) -> Trainer:
    """Open the store, build model, sampler and loader, and hand them to the family's trainer."""
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.training.checkpoints.earlier_content import goes_on
    from dynml.training.checkpoints.experiment_folder import ExperimentFolder
    from dynml.training.environment import resolve_device
    from dynml.training.loggers.asked_for import loggers_asked_for
    from dynml.training.model_summary import model_summary
    from dynml.training.parts import check_takes_conditioning, check_takes_further_groups
    from dynml.training.processes import join_processes

    configs = request.configs
    check_takes_conditioning(load(request.family.model), configs["dataset"].conditioning_group)
    check_takes_further_groups(load(request.family.model), configs["dataset"].further_groups)
    processes = join_processes(configs["trainer"].device)
    folder = ExperimentFolder(request.experiments_path, request.experiment_name, may_make_root=True)
    processes.from_first(lambda: goes_on(folder, request.resume))
    loggers = loggers_asked_for(configs["comet"], configs["tensorboard"])
    device = resolve_device(configs["trainer"].device)
    dataset = MultiSubjectDataset(
        request.hdf5_file,
        configs["loader"].residency,
        group=request.input_group,
        device=device,
        config=configs["dataset"],
        rank=processes.rank,
        world_size=processes.world_size,
    )
    dataset.load_data(progress=shows_progress() and processes.is_first)
    trainer = trainer_on(
        request,
        dataset,
        processes=processes,
        loggers=loggers,
        figures=functools.partial(figures_of_run, components=request.family.components),
    )
    if processes.is_first:
        say(_dataset_summary(trainer.dataset))
        say(model_summary(trainer.model))
    return trainer


def trainer_on(request: RunRequest, dataset: Any, **settings: Any) -> Trainer:
    """Make the trainer of a run on a dataset that is loaded.

    Parameters
    ----------
    request : RunRequest
    dataset : MultiSubjectDataset
        Opened by the request's settings.
    **settings
        Of the trainer, besides those of the request: processes, loggers, figures.
    """
    configs = request.configs
    if not shows_progress():
        configs = {**configs, "trainer": dataclasses.replace(configs["trainer"], progress=False)}
    if not dataset.training_set.n_subjects:
        raise DataError(f"{request.hdf5_file} has no training subjects.")
    folder, settings = (request.experiments_path, request.experiment_name), {"resume": request.resume, **settings}
    return settled_trainer(
        request.family, dataset, configs, folder, request.pretrained, asked=request.asked, **settings
    )


def run_training(request: RunRequest) -> int:
    """Build, train, say how it went; the exit status is 0, or 128 + signal."""
    from dynml.training.processes import leave_processes

    try:
        return _trained(request)
    finally:
        leave_processes()


def _trained(request: RunRequest) -> int:
    """Keep the trainer within a function that has returned when the processes part."""
    trainer = build_trainer(request)
    with compilation_told() if trainer.processes.is_first else contextlib.nullcontext():
        summary = trainer.train_and_validate()
    if trainer.processes.is_first:
        print(_last_words(summary, trainer.folder.path))
        say(_next_command(request, trainer.folder.path))
    return trainer.interruption.exit_status


def _without_alias(argument: str) -> str:
    """`--initialization.from` under the name that a Python field can have, and others under their full ones."""
    if argument == "--allow_overlap":
        return "--model.allow_overlap=true"
    name, equals, value = argument.partition("=")
    if name == "--other_preparation":
        return f"--trainer.other_preparation{equals}{value}"
    return f"{name}_experiment{equals}{value}" if name == "--initialization.from" else argument


def family_on_command_line(arguments: Sequence[str]) -> Family | None:
    """Find the family that a command line names, whose settings are among its options; None: there is none."""
    names = family_names()
    known = next((argument for argument in arguments if argument in names), None)
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    name = known or first
    return None if name is None else get_family(name)


def _defaults(family: Family | None, group: str) -> dict[str, Any]:
    return (
        {} if family is None else {"sampler": family.sampler_defaults, "loader": family.loader_defaults}.get(group, {})
    )


def _dataset_summary(dataset: Any) -> str:
    sets = (dataset.training_set, dataset.validation_set, dataset.testing_set)
    counts = ", ".join(f"{subset.name} {subset.n_subjects} ({subset.n_samples} samples)" for subset in sets)
    shared = f"; {dataset.world_size} processes share the subjects" if dataset.world_size > 1 else ""
    beside = f" ({dataset.n_conditioning} of group {dataset.conditioning.group})" if dataset.n_conditioning else ""
    rates = sorted({float(rate) for subset in sets for rate in subset.sampling_frequencies})
    shown = ", ".join(f"{rate:g}" for rate in (rates if len(rates) <= 3 else (rates[0], rates[-1])))
    return (
        f"Subjects: {counts}; {dataset.n_channels} channels{beside} at {shown}{' ..' * (len(rates) > 3)} Hz; "
        f"{dataset.residency}{shared}"
    )


def _last_words(summary: dict[str, Any], path: Path) -> str:
    lines = [f"Stopped: {summary['stopping_reason']}, after {summary['epochs']} epochs."]
    if summary.get("kept"):
        lines.append(f"Kept: {summary['kept']}.")
    elif summary.get("best_epoch") is not None:
        lines.append(f"Best {summary['monitored']}: {summary['best_value']:.6g} (epoch {summary['best_epoch']}).")
    if "free_energy" in summary:
        lines += _comparison(summary, summary["free_energy"], "nats per sample, lower is better")
    elif "score" in summary:
        for name, content in summary.get("further_targets", {}).items():
            lines += _table({"model": content["score"], **content["baselines"]}, f"{name}: {_title(summary)}")
        lines += _comparison(summary, summary["score"], _title(summary))
        lines += _balanced(summary)
    return "\n".join([*lines, f"Results: {path}"])


def _next_command(request: RunRequest, path: Path) -> str:
    """What most people run after a training."""
    store = shlex.quote(request.hdf5_file)
    if request.family.can_be_inferred_from:
        return f"Next: dynml_infer_from_model.py {shlex.quote(str(path))} {store} OUT_FOLDER"
    return f"Next: dynml_report.py {shlex.quote(str(path))} {shlex.quote(path.name)}.html --hdf5 {store}"


def _balanced(summary: dict[str, Any]) -> list[str]:
    """Balanced accuracy of a decoder, with what any constant answer comes to."""
    found, chance = summary.get("balanced_accuracy"), summary.get("balanced_accuracy_chance")
    if not found or not chance:
        return []
    parts = [f"{name} {found[name]:.4f} (chance {chance[name]:.4f})" for name in found if found[name] is not None]
    return [f"Balanced accuracy: {', '.join(parts)}."]


def _comparison(summary: dict[str, Any], own: dict[str, Any], title: str) -> list[str]:
    """Table of the model beside its baselines, and the findings in plain words."""
    rows = {"model": own, **summary.get("baselines", {})}
    if "most_frequent_of_subset" in summary:
        rows["most frequent of these trials"] = summary["most_frequent_of_subset"]
    return [*_table(rows, title), *(f"Note: {finding}" for finding in summary.get("findings", []))]


def _title(summary: dict[str, Any]) -> str:
    return SCORES.get(summary["loss"], summary["loss"])


def _table(rows: dict[str, Any], title: str) -> list[str]:
    """Lines of scores by name; those that are null make no sense for the family."""
    lines = [f"{title:<34}{'training':>12}{'validation':>12}"]
    for name, values in rows.items():
        if values is None:
            continue
        cells = [values.get(subset) for subset in ("training", "validation")]
        lines.append(f"  {name:<32}" + "".join(f"{'-' if cell is None else format(cell, '.4f'):>12}" for cell in cells))
    return lines
