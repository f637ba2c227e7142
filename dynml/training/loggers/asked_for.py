"""Makes the loggers that the settings ask for."""

from __future__ import annotations

from dynml.training.loggers.config import CometConfig, TensorBoardConfig
from dynml.training.loggers.run_loggers import RunLogger


def loggers_asked_for(comet: CometConfig, tensorboard: TensorBoardConfig) -> list[RunLogger]:
    """Make the loggers that the settings ask for; only their packages are imported.

    Raises
    ------
    ConfigurationError
        When a package is not installed, or comet is to be online and has no API key.
    """
    loggers: list[RunLogger] = []
    if comet.asked_for:
        from dynml.training.loggers.comet_logger import CometLogger

        loggers.append(CometLogger(comet))
    if tensorboard.enabled:
        from dynml.training.loggers.tensorboard_logger import TensorBoardLogger

        loggers.append(TensorBoardLogger())
    return loggers
