"""What dynml_send_value_to_comet_from_log.py and dynml_send_value_to_comet_manually.py do."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import check_at_least, nearest_name
from dynml.errors import CheckpointError, ConfigurationError, DataWarning, DynmlError
from dynml.files import read_json
from dynml.training.loggers.config import CometConfig

if TYPE_CHECKING:
    from dynml.training.loggers.comet_state import CometState

KEY = re.compile(r"[0-9a-zA-Z]{32,50}")
MODES = ("auto", "online", "offline")


def parse_sending_of_logs(description: str | None) -> Namespace:
    """Parse the command line of dynml_send_value_to_comet_from_log.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiment", metavar="EXPERIMENT_PATH", help="EXPERIMENTS_PATH/EXPERIMENT_NAME")
    parser.add_argument("logs", nargs="+", metavar="LOG", help="logs to send, named as in logs/LOG_per_epoch.npy")
    parser.add_argument("--metric_names", nargs="+", metavar="NAME", help="other names for the logs, in order")
    parser.add_argument("--use_best", action="store_true", help="send the lowest value so far instead of each value")
    parser.add_argument(
        "--comet.project",
        type=str,
        help="project, for an experiment that was not reported to comet.ml",
    )
    parser.add_argument("--comet.workspace", type=str, help="workspace of the project")
    _add_mode(parser)
    return parser.parse_args()


def parse_sending_of_one_value(description: str | None) -> Namespace:
    """Parse the command line of dynml_send_value_to_comet_manually.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="an experiment's folder, or a comet experiment key")
    parser.add_argument("metric", metavar="NAME", help="name of the metric")
    parser.add_argument("value", metavar="VALUE", type=float, help="value of the metric")
    parser.add_argument("--epoch", type=int, help="epoch of the value, from 1")
    parser.add_argument("--context", choices=["train", "validate", "test"], help="context of the value")
    _add_mode(parser)
    return parser.parse_args()


def send_logs(arguments: Namespace) -> None:
    """Read logs of an experiment and tell them to its comet experiment."""
    import numpy as np

    from dynml.analysis.log_reading import read_logs
    from dynml.training.loggers.comet_connection import check_mode_is_possible
    from dynml.training.loggers.comet_logger import tell_metrics
    from dynml.training.loggers.comet_state import FOLDER, read_state, state_for, write_state
    from dynml.training.loggers.run_loggers import flat

    folder = Path(arguments.experiment)
    logs = read_logs(folder)
    names = _new_names(arguments)
    for log in names:
        if log not in logs:
            raise ConfigurationError("LOG", log, f"a log of {folder}{_what_there_is(log, list(logs))}")
    known = read_state(folder)
    state = state_for(folder, _comet_config(arguments, folder, known))
    check_mode_is_possible(arguments.comet.mode)
    parameters = folder / "parameters_latest.json"
    series = {log: np.fmin.accumulate(logs[log]) if arguments.use_best else logs[log] for log in names}

    def tell(experiment: Any) -> None:
        if not state.n_reported_epochs and parameters.exists():
            experiment.log_parameters(flat(read_json(parameters)))
        for epoch in range(1, 1 + max(map(len, series.values()))):
            values = {names[log]: float(own[epoch - 1]) for log, own in series.items() if epoch <= len(own)}
            tell_metrics(experiment, epoch, {name: value for name, value in values.items() if value == value})

    write_state(folder, state)
    _send(tell, state, folder / FOLDER, folder.resolve().name, arguments.comet.mode)


def send_one_value(arguments: Namespace) -> None:
    """Tell one value to the comet experiment of a folder, or to that of a key."""
    from dynml.training.loggers.comet_connection import check_mode_is_possible
    from dynml.training.loggers.comet_state import FOLDER, CometState, read_state

    check_at_least("--epoch", arguments.epoch, 1, optional=True)
    check_mode_is_possible(arguments.comet.mode)
    folder = Path(arguments.experiment)
    if folder.is_dir():
        state = read_state(folder)
        if state is None:
            raise CheckpointError(
                f"{folder} has no comet experiment (no comet/experiment.json); dynml_send_value_to_comet_from_log.py "
                "with --comet.project makes one."
            )
        archives, must_exist = folder / FOLDER, False
    elif KEY.fullmatch(arguments.experiment):
        state, archives, must_exist = CometState(arguments.experiment, None, None), Path(FOLDER), True
    else:
        raise CheckpointError(f"{folder} is neither an existing experiment folder nor a comet key (32 to 50 letters).")

    def tell(experiment: Any) -> None:
        with experiment.context_manager(arguments.context) if arguments.context else contextlib.nullcontext():
            experiment.log_metric(arguments.metric, arguments.value, step=arguments.epoch, epoch=arguments.epoch)

    _send(tell, state, archives, None, arguments.comet.mode, must_exist=must_exist)


def _add_mode(parser: ScriptParser) -> None:
    parser.add_argument(
        "--comet.mode", choices=MODES, default="auto", help="auto: online if possible, or an archive to upload later"
    )


def _new_names(arguments: Namespace) -> dict[str, str]:
    """Log to the name under which it is sent."""
    new = arguments.metric_names or arguments.logs
    if len(new) != len(arguments.logs) or len(set(new)) != len(new):
        accepted = f"{len(arguments.logs)} different names, one for each log"
        raise ConfigurationError("--metric_names", " ".join(new), accepted)
    return dict(zip(arguments.logs, new))


def _what_there_is(log: str, known: list[str]) -> str:
    near = nearest_name(log, known)
    return near if "there are" in near else f"{near}; there are: {', '.join(sorted(known))}"


def _comet_config(arguments: Namespace, folder: Path, known: CometState | None) -> CometConfig:
    """Project and workspace: as given, or those that the experiment was reported to."""
    project, workspace = arguments.comet.project, arguments.comet.workspace
    if project is None and workspace is None and known is not None:
        project, workspace = known.project, known.workspace
    if project is None and workspace is None:
        raise ConfigurationError("--comet.project", None, f"given, because {folder} was never reported to comet.ml")
    if project is not None and known is not None and (project, workspace) != (known.project, known.workspace):
        known_project = (
            f"{known.workspace}/{known.project}" if known.workspace else f"{known.project} (default workspace)"
        )
        raise ConfigurationError("--comet.project", project, f"left out: {folder} is reported to {known_project}")
    return CometConfig(project=project, workspace=workspace, mode=arguments.comet.mode)


def _send(
    tell: Callable[[Any], None],
    state: CometState,
    archives: Path,
    name: str | None,
    mode: str,
    *,
    must_exist: bool = False,
) -> None:
    from dynml.training.loggers.comet_connection import open_session
    from dynml.training.loggers.comet_state import name_archives

    session, sentence = open_session(state, archives, name, mode, must_exist=must_exist)
    if sentence is not None:
        warnings.warn(f"comet.ml is not used online: {sentence}", DataWarning, stacklevel=2)
    tell(session.experiment)
    fault = session.close()
    if fault is not None:
        raise DynmlError(f"comet.ml may lack a part of it: {fault} Send it again, or with --comet.mode offline.")
    if session.online:
        print(f"Sent to {session.experiment.url}")
    for archive in name_archives(archives, state.experiment_key):
        print(f"To upload it, call: comet upload {archive}")
