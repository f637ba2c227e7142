"""Where channels lie, in the file: in, a store's group; out, a `Geometry`, or what is wrong with it."""
