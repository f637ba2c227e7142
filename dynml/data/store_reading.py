"""The store, under the name of earlier versions; see `dynml.store.reading`."""

from dynml.store.reading import GroupDescription, Store

__all__ = ["GroupDescription", "Store"]
