"""HDF5 files that lead into other files are not followed: sources, MATLAB files and stores."""

import h5py
import numpy as np
import pytest
from matlab_making import save_hdf5
from store_making import two_subjects

from dynml.errors import DataError
from dynml.readers.hdf5 import Hdf5Reader
from dynml.readers.matlab.reader import MatlabReader
from dynml.store.reading import Store

SIGNALS = np.random.default_rng(0).normal(size=(50, 3))


def secret(folder):
    """What a file may lead to: another HDF5 file, and the same numbers as they are."""
    with h5py.File(folder / "secret.h5", "w") as file:
        file["a"] = SIGNALS
    (folder / "secret.bin").write_bytes(SIGNALS.tobytes())
    return str(folder / "secret.h5")


def link(file, where):
    file["a"] = h5py.ExternalLink(where, "/a")


def link_above(file, where):
    file["g"] = h5py.ExternalLink(where, "/")


def external(file, where):
    raw = where.replace(".h5", ".bin")
    file.create_dataset("a", SIGNALS.shape, SIGNALS.dtype, external=[(raw, 0, h5py.h5f.UNLIMITED)])


def virtual(file, where):
    layout = h5py.VirtualLayout(SIGNALS.shape, SIGNALS.dtype)
    layout[:] = h5py.VirtualSource(where, "a", SIGNALS.shape)
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize(
    ("made", "variable", "words"),
    [
        (link, "a", "a is a link into .*secret.h5; links out of a file are not followed"),
        (link_above, "g/a", "g is a link into .*secret.h5"),
        (link, None, "holds no two-dimensional array"),
        (external, "a", r"the values of /a stand in another file, .*secret\.bin, and external storage is not followed"),
        (external, None, "stand in another file"),
        (virtual, None, r"stand in another file, .*secret\.h5"),
    ],
)
@pytest.mark.parametrize(("reader", "name"), [(Hdf5Reader, "run.h5"), (MatlabReader, "run.mat")])
def test_sources_lead_nowhere(tmp_path, made, variable, words, reader, name):
    with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
        made(file, secret(tmp_path))
    with pytest.raises(DataError, match=rf"run\.\w+.*{words}"):
        reader(reader.Config(variable=variable)).describe(tmp_path / name)


def test_circles_end(tmp_path):
    save_hdf5(tmp_path / "run.mat", a=SIGNALS)
    with h5py.File(tmp_path / "run.mat", "r+") as file:
        file["g/again"] = file["/"]
        file["soft"] = h5py.SoftLink("/soft")
        file["references"] = np.array([file["/"].ref], dtype=h5py.ref_dtype)
    for name, reader in (("run.mat", MatlabReader), ("run.h5", Hdf5Reader)):
        (tmp_path / "run.mat").replace(tmp_path / name)
        reader_of_file = reader(reader.Config(variable="a"))
        assert reader_of_file.describe(tmp_path / name).n_samples in SIGNALS.shape
        (tmp_path / name).replace(tmp_path / "run.mat")


@pytest.mark.parametrize(
    "place", ["subjects/sub-a", "subjects/sub-a/signals", "subjects/sub-a/signals/data", "subsets/training"]
)
def test_stores_lead_nowhere(tmp_path, place):
    study = two_subjects(tmp_path)
    study.create().close()
    with h5py.File(study.target, "r+") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        file.copy(file[place], other, name="a")
        del file[place]
        file[place] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a")
    with pytest.raises(DataError, match=r"store\.hdf5: .* is a link into .*other\.h5"):
        Store(study.target).read("sub-a", "signals")
