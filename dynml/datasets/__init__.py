"""Small real recordings that travel inside the package."""

from dynml.datasets.haxby import (
    HaxbyArrays,
    HaxbyFiles,
    ReadyFolder,
    haxby2001_arrays,
    haxby2001_files,
    write_haxby2001_ready_folder,
)

__all__ = [
    "HaxbyArrays",
    "HaxbyFiles",
    "ReadyFolder",
    "haxby2001_arrays",
    "haxby2001_files",
    "write_haxby2001_ready_folder",
]
