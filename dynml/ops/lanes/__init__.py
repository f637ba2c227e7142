"""SIMD vectors inside numba's compiled loops: values of that type, and products of small tiles."""
