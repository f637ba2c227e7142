"""What stands between dynml and comet_ml: an import without side effects, and one experiment, online or an archive.

comet_ml by itself patches other packages, reports crashes to its makers, retries for a minute when there is no network
and waits up to hours at the end. A training run wants none of that, so these are switched off or shortened here, unless
the user's environment says otherwise.
"""

from __future__ import annotations

import logging
import os
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, ConfigurationError, DynmlError
from dynml.files import made_folder
from dynml.training.loggers.comet_state import CometState

ENVIRONMENT = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_INTERNAL_REPORTING": "false",
    "COMET_LOGGING_CONSOLE": "CRITICAL",
    "COMET_TIMEOUT_HTTP": "5",
    "COMET_TIMEOUT_CLEANING": "15",
    "COMET_TIMEOUT_UPLOAD": "30",
    "COMET_TIMEOUT_FILE_UPLOAD": "30",
    "COMET_HTTP_SESSION_RETRY_TOTAL": "1",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": "1",
    "COMET_FALLBACK_STREAMER_FALLBACK_TO_OFFLINE_MIN_BACKEND_VERSION": "999.0.0",
}
"""Defaults of comet_ml's own settings; seconds where they are times. The last one: comet's own rescue archive can only
be uploaded as a new experiment, so the archive of an interrupted report is written here instead."""

NOTHING_BY_ITSELF = {
    "log_code": False,
    "log_graph": False,
    "parse_args": False,
    "log_git_metadata": False,
    "log_git_patch": False,
    "log_env_details": False,
    "auto_output_logging": False,
    "auto_param_logging": False,
    "auto_metric_logging": False,
    "auto_log_co2": False,
    "display_summary_level": 0,
}

NOT_ABOUT_DATA = ("sending a notification", "report experiment status")
"""Words in complaints of comet_ml that nothing is lost by: an e-mail to the user, the light that says "running"."""

CLOSING_LIMIT = 60.0
"""Seconds that the end of a report may take."""


def import_comet() -> Any:
    """Import comet_ml, quiet, and without its hook for exceptions.

    Raises
    ------
    ConfigurationError
        When it is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    hook = sys.excepthook
    try:
        import comet_ml
    except ImportError as error:
        raise ConfigurationError(
            "comet.project", "given", "left out, or comet-ml installed (pip install comet-ml)"
        ) from error
    finally:
        sys.excepthook = hook
    return comet_ml


def has_api_key() -> bool:
    """Whether comet_ml finds an API key in the environment or in its own file."""
    return bool(import_comet().get_config("comet.api_key"))


def check_mode_is_possible(mode: str) -> None:
    """Refuse "online" where there is no API key.

    Raises
    ------
    ConfigurationError
        When it is so, or comet_ml is not installed.
    """
    if not has_api_key() and mode == "online":
        raise ConfigurationError("comet.mode", mode, "auto or offline without an API key (comet login)")


class CometSession:
    """One open comet experiment, online or as an archive.

    Parameters
    ----------
    state : CometState
    archives : Path
        Folder for archives.
    name : str or None
        What the experiment is called at comet.ml; None leaves the name as it is.
    online : bool
    must_exist : bool
        Refuse a key that comet.ml does not know, instead of making an experiment of it.

    Raises
    ------
    CheckpointError
        When it must exist and does not.
    DynmlError
        When comet.ml cannot be reached or refuses; the sentence says why and holds no key.
    """

    def __init__(
        self, state: CometState, archives: Path, name: str | None, *, online: bool, must_exist: bool = False
    ) -> None:
        comet_ml = import_comet()
        self.state, self.online, self.archives = state, online, archives
        made_folder(archives)
        self._archives_before = set(archives.glob("*.zip"))
        self._complaints = _Complaints()
        settings = comet_ml.ExperimentConfig(**NOTHING_BY_ITSELF, offline_directory=str(archives), name=name)
        try:
            self.experiment = comet_ml.start(
                workspace=state.workspace,
                project_name=state.project,
                experiment_key=state.experiment_key,
                mode="get" if must_exist else "get_or_create",
                online=online,
                experiment_config=settings,
            )
        except Exception as error:
            self._complaints.leave()
            if must_exist and type(error).__name__ == "ExperimentNotFound":
                raise CheckpointError(f"comet.ml has no experiment {state.experiment_key} for this API key.") from error
            raise DynmlError(_reason(error)) from error
        if not self.experiment.alive:
            self._complaints.leave()
            raise DynmlError("comet.ml did not accept the experiment.")

    def close(self) -> str | None:
        """End the report within a minute.

        Returns
        -------
        str or None
            Why not everything has arrived, or None when it has.
        """
        closing = threading.Thread(target=self._end, name="end of the comet experiment", daemon=True)
        closing.start()
        closing.join(CLOSING_LIMIT)
        self._complaints.leave()
        if closing.is_alive():
            return f"comet.ml did not take the rest within {CLOSING_LIMIT:g} seconds."
        if not self.online and set(self.archives.glob("*.zip")) - self._archives_before:
            # An online experiment given up before may still be complaining of its own.
            return None
        return self._complaints.first or (None if self.online else "no archive was written.")

    def _end(self) -> None:
        try:
            self.experiment.end()
            if self.online and not self.experiment.streamer.has_connection_to_server():
                self._complaints.first = "the connection was lost."
        except Exception as error:
            self._complaints.first = _reason(error)


class _Complaints(logging.Handler):
    """Keeps the first error about data that comet_ml logs: of losses it tells in no other way."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: str | None = None
        self._logger = logging.getLogger("comet_ml")
        self._level_before = self._logger.level
        self._logger.setLevel(min(self._level_before, logging.ERROR))
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.first is None and not any(words in text for words in NOT_ABOUT_DATA):
            self.first = textwrap.shorten(text, 120).rstrip(".") + "."

    def leave(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level_before)


def open_session(
    state: CometState, archives: Path, name: str | None, mode: str, *, must_exist: bool = False
) -> tuple[CometSession, str | None]:
    """Open a comet experiment online if that is wanted and possible, or else as an archive.

    Parameters
    ----------
    mode : {"auto", "online", "offline"}
        As in `CometConfig`. The others are those of `CometSession`.

    Returns
    -------
    session : CometSession
    sentence : str or None
        Why it is an archive although "online" or "auto" was wanted.
    """
    sentence = None
    if mode != "offline":
        if has_api_key():
            try:
                return CometSession(state, archives, name, online=True, must_exist=must_exist), None
            except CheckpointError:
                raise
            except DynmlError as error:
                sentence = str(error)
        else:
            sentence = "there is no API key (comet login, or COMET_API_KEY)."
    return CometSession(state, archives, name, online=False, must_exist=must_exist), sentence


def _reason(error: Exception) -> str:
    """Why comet_ml failed, in words, and without the API key that some of its errors hold."""
    kinds = {
        "InvalidAPIKey": "comet.ml does not know the API key.",
        "InvalidWorkspace": "comet.ml does not know the workspace.",
        "ConnectionError": "comet.ml cannot be reached.",
        "ConnectTimeout": "comet.ml cannot be reached.",
        "ReadTimeout": "comet.ml cannot be reached.",
    }
    return kinds.get(type(error).__name__, f"comet_ml failed with {type(error).__name__}.")
