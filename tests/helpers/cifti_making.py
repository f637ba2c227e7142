"""CIFTI series, label files and their axes."""

import nibabel
import numpy as np
from nibabel.cifti2 import cifti2_axes as axes

N_SAMPLES, N_VERTICES = 40, 30
VOLUME = (5, 4, 3)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def grayordinates(left=range(N_VERTICES), n_vertices=N_VERTICES):
    """Some vertices of a surface, and some voxels of the thalamus."""
    surface = axes.BrainModelAxis.from_surface(np.array(list(left)), n_vertices, name="CortexLeft")
    mask = np.zeros(VOLUME, dtype=bool)
    mask[1:4, 1:3, 1] = True
    return surface + axes.BrainModelAxis.from_mask(mask, affine=AFFINE, name="thalamus_left")


def write_series(path, data, axis, seconds=0.8, unit="SECOND", exponent=0):
    series = axes.SeriesAxis(0, seconds, len(data), unit)
    image = nibabel.Cifti2Image(data.astype(np.float32), (series, axis))
    image.header.matrix[0].series_exponent = exponent
    nibabel.save(image, path)
    return path


def write_labels(path, keys, axis, names=None):
    names = names or {0: "???", 2: "visual", 5: "motor", 9: "thalamus"}
    table = {key: (name, (1, 1, 1, 1)) for key, name in names.items()}
    label = axes.LabelAxis(["parcels"], [table])
    nibabel.save(nibabel.Cifti2Image(keys[None].astype(np.float32), (label, axis)), path)
    return path


def parcels(names):
    """One vertex a parcel."""
    return axes.ParcelsAxis(
        names,
        [np.zeros((0, 3), dtype=int) for _ in names],
        [{"CIFTI_STRUCTURE_CORTEX_LEFT": np.array([place])} for place, _ in enumerate(names)],
        nvertices={"CIFTI_STRUCTURE_CORTEX_LEFT": N_VERTICES},
    )


def noise(n_channels, seed=0):
    return np.random.default_rng(seed).normal(100, 5, (N_SAMPLES, n_channels)).astype(np.float32)


def keys_of(axis):
    keys = np.zeros(len(axis), dtype=int)
    keys[:8], keys[8:20], keys[-6:] = 5, 2, 9
    return keys
