"""Settings of Sphinx. The reference is made from the code: docstrings, Configs and the help of the scripts."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

values: dict[str, str] = {}
exec((HERE.parent / "dynml" / "version.py").read_text(encoding="utf-8"), values)

project = "dynml"
author = "the authors of dynml"
project_copyright = author
version = release = values["__version__"]

OPTIONAL = ("sphinx_copybutton",)
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "reference_tables",
    *(name for name in OPTIONAL if importlib.util.find_spec(name)),
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "examples", "outputs", "reference/api_objects.rst"]
templates_path = ["_templates"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]
"""Types in docstrings are words ("Tensor, (T, C), float32"), not names of objects. Links between pages are checked."""
suppress_warnings = ["ref.python"]
"""Settings of several Configs share their names, and words in docstrings are no links."""
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = ["reference/api_objects.rst"]
"""Written by docs/api_objects.py before the pages are read."""
napoleon_google_docstring = False
default_role = "code"
smartquotes = False
highlight_language = "none"
"""Of outputs, which have no language; those of the class `sentences` are wrapped (`narrow.css`)."""
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"dynml {version}"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_copy_source = False
html_show_sphinx = False


def setup(app):
    """List the public objects before autosummary looks for them."""
    import api_objects

    app.connect("config-inited", lambda app, config: api_objects.write())
