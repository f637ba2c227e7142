"""Reads .sig files."""

import json
from dataclasses import dataclass

import numpy as np

from dynml.configuration import check_positive
from dynml.errors import DataCorruptionError
from dynml.readers import FileDescription, Reader, ReaderConfig
from dynml.readers.guard import guarded


@dataclass(frozen=True, kw_only=True)
class SigConfig(ReaderConfig):
    """Keys of .sig files."""

    gain: float = 1.0
    """Microvolts of one unit of the samples."""

    def __post_init__(self):
        check_positive("gain", self.gain)


class SigReader(Reader):
    """Reads .sig files: a line of JSON, then float32 samples, time x channels."""

    Config = SigConfig

    @guarded
    def describe(self, path):
        """Read the first line, and count the samples by the size of the file."""
        header, start = header_of(path)
        n_bytes = path.stat().st_size - start
        n_channels = len(header["channels"])
        if n_bytes % (4 * n_channels):
            raise DataCorruptionError(
                f"{path} is truncated: its last sample is not whole."
            )
        return FileDescription(
            n_samples=n_bytes // (4 * n_channels),
            n_channels=n_channels,
            channel_names=tuple(header["channels"]),
            sampling_frequency=header["rate"],
        )

    @guarded
    def read(self, path):
        """Read all samples, (T, C)."""
        header, start = header_of(path)
        samples = np.fromfile(path, dtype="<f4", offset=start) * np.float32(
            self.config.gain
        )
        return samples.reshape(-1, len(header["channels"]))

    def note(self, path, run):
        """Say in the store by what the samples were multiplied."""
        return (
            []
            if self.config.gain == 1.0
            else [{"step": "gain", "microvolts": self.config.gain}]
        )


def header_of(path):
    """Give what the first line says, and where the samples start."""
    with path.open("rb") as stream:
        line = stream.readline()
    return json.loads(line), len(line)
