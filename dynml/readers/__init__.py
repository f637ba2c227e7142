"""Readers of recordings, one module a format, found by the file's extension."""

from dynml.readers.formats import (
    FileDescription,
    Reader,
    ReaderInputs,
    extension_of,
    known_extensions,
    reader_class,
)

__all__ = ["FileDescription", "Reader", "ReaderInputs", "extension_of", "known_extensions", "reader_class"]
