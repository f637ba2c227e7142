"""DyNeMo: dynamic network modes, mixed anew at every sample."""
