"""Signals as the chunks of an HDF5 file hold them: bytes of rows and their checksum, without HDF5's own way to them."""
