"""The store, under the name of earlier versions; see `dynml.store.reading`."""

from dynml.recording import GroupDescription
from dynml.store.reading import Store

__all__ = ["GroupDescription", "Store"]
