"""Small real recordings inside the package, and files of noise in the layouts of other programs."""

from dynml.datasets.examples import write_example_files
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
    "write_example_files",
    "write_haxby2001_ready_folder",
]
