"""File -> signals: readers of recordings, one module a format, found by the file's extension.

In: paths, and the keys of a group. Out: a `FileDescription`, then the signals. A format is one module: a class made
from `Reader`, whose methods are `guarded`, with its keys as `Config`, and one line in `formats.READERS`. Another
package adds its own by the entry point `dynml.readers`, named by the extension:

    [project.entry-points."dynml.readers"]
    ".sig" = "my_package.reader:SigReader"
"""

from dynml.readers.formats import extension_of, known_extensions, reader_class
from dynml.readers.reader import FileDescription, Reader, ReaderConfig

__all__ = ["FileDescription", "Reader", "ReaderConfig", "extension_of", "known_extensions", "reader_class"]
