"""Settings of the loggers that a run is reported to, beside its own folder. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class CometConfig:
    """comet.ml; used if a project is named. The API key is read by comet itself and is never given here."""

    project: str | None = None
    """Project to report to; null: comet.ml is not used."""

    workspace: str | None = None
    """Workspace of the project; null: the default one of the API key."""

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    """auto: online, or an archive to upload later if there is no key or no network; online: the same, but without a key
    the run does not start; offline: always an archive; off: comet.ml is not used."""

    def __post_init__(self) -> None:
        check_choice("comet.mode", self.mode, ("auto", "online", "offline", "off"))
        for key in ("project", "workspace"):
            name = getattr(self, key)
            if name is not None and (not isinstance(name, str) or not name.strip()):
                raise ConfigurationError(f"comet.{key}", name, "a name")
        if self.project is None and self.workspace is not None:
            raise ConfigurationError("comet.project", None, f"named too when comet.workspace is {self.workspace!r}")
        if self.project is None and self.mode in ("online", "offline"):
            raise ConfigurationError("comet.project", None, f"named when comet.mode is {self.mode!r}")

    @property
    def asked_for(self) -> bool:
        """Whether comet.ml is to be used."""
        return self.project is not None and self.mode != "off"


@dataclass(frozen=True, kw_only=True)
class TensorBoardConfig:
    """TensorBoard: event files in the experiment's folder `tensorboard/`."""

    enabled: bool = False
    """Write event files; needs the package tensorboard."""

    def __post_init__(self) -> None:
        check_choice("tensorboard.enabled", self.enabled, (True, False))
