"""Recordings, readers, preparation, the HDF5 store, the dataset, simulation."""
