"""The one place where the version stands; `setup.py` reads it too."""

__version__ = "0.1.0"
