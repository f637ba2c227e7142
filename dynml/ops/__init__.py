"""Ground floor: pure tensor functions that know no file, no config and no subject."""
