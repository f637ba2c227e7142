"""Settings of Sphinx. The version is read from the package's file, so that nothing is imported to build the pages."""

from pathlib import Path

values: dict[str, str] = {}
exec((Path(__file__).parent.parent / "dynml" / "version.py").read_text(encoding="utf-8"), values)

project = "dynml"
author = "the authors of dynml"
project_copyright = author
version = release = values["__version__"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"dynml {version}"
html_copy_source = False
html_show_sphinx = False
