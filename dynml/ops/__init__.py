"""Pure functions of tensors that know no file, no config and no subject."""
