"""Files that claim or unfold to more than memory holds are refused from their headers, with the limit."""

import io
import pickle
import tarfile
import zipfile

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
from tar_making import write_members

from dynml import host_memory
from dynml.compressed import read_text_or_compressed
from dynml.errors import DataCorruptionError, DataError
from dynml.exchange.webdataset import read_tar
from dynml.host_memory import check_claimed_size
from dynml.readers import reader_class
from dynml.readers.fmri.nifti import NiftiReader
from dynml.readers.formats import config_for

MEBIBYTE = 2**20


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(host_memory, "available_host_memory", lambda: 10 * MEBIBYTE)


def read(path, **keys):
    reader = reader_class(path)(config_for(path, keys))
    reader.describe(path)
    return reader.read(path)


def test_the_limit_is_said_and_how_to_raise_it(tmp_path, little_memory):
    check_claimed_size(tmp_path / "a", 9 * MEBIBYTE, "signals")
    sentence = (
        r"a claims signals of 0\.00977 GiB in memory, but at most 90% .*, 0\.00879 GiB, .*split the file, or free"
    )
    with pytest.raises(DataError, match=sentence):
        check_claimed_size(tmp_path / "a", 10 * MEBIBYTE, "signals")


def test_nothing_is_refused_where_the_system_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(host_memory, "available_host_memory", lambda: None)
    check_claimed_size(tmp_path / "a", 10**18, "signals")


def test_volumes_of_images(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), dtype=np.int16), np.eye(4)), tmp_path / "atlas.nii")
    image = nibabel.Nifti1Image(np.zeros((1, 1, 1, 5), dtype=np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    nibabel.save(image, tmp_path / "a.nii.gz")
    large = nibabel.Nifti1Header()
    large.set_data_shape((20000, 20000, 20000, 5))
    large.set_data_dtype(np.float32)
    header = large.binaryblock
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[40:56] = header[40:56]
    (tmp_path / "a.nii").write_bytes(content)
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    with pytest.raises(DataError, match=r"a\.nii claims a volume of 5\.96e\+04 GiB in memory"):
        read(tmp_path / "a.nii", atlas=tmp_path / "atlas.nii")
    with pytest.raises(DataError, match=r"a\.nii claims a volume of"):
        NiftiReader(NiftiReader.Config(atlas=tmp_path / "a.nii"))


def test_arrays_of_npz_files(tmp_path, little_memory):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"shape": (10**6, 2), "fortran_order": False, "descr": "<f4"})
        stream.write(bytes(8 * 10**6))
    with pytest.raises(DataError, match=r"a\.npz claims signals of"):
        read(path)


def test_variables_of_matlab_files(tmp_path, little_memory):
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.zeros((10**6, 2))}, do_compression=True)
    with pytest.raises(DataError, match=r"a\.mat claims signals of"):
        read(tmp_path / "a.mat")


def test_variables_of_matlab_files_that_unfold_beyond_their_shape(tmp_path):
    import zlib

    scipy.io.savemat(tmp_path / "a.mat", {"a": np.ones((5, 4))}, do_compression=True)
    content = (tmp_path / "a.mat").read_bytes()
    longer = zlib.compress(zlib.decompress(content[136:]) + bytes(5 * MEBIBYTE))
    (tmp_path / "a.mat").write_bytes(content[:132] + len(longer).to_bytes(4, "little") + longer)
    with pytest.raises(DataCorruptionError, match=r"a\.mat: a \(5 x 4 float64\) is truncated, or more than its shape"):
        read(tmp_path / "a.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_of_matlab_files_whose_bytes_are_too_few(tmp_path, compressed):
    import zlib

    scipy.io.savemat(tmp_path / "a.mat", {"a": np.ones((5, 4))}, do_compression=compressed)
    content = (tmp_path / "a.mat").read_bytes()
    shape, large = b"\5\0\0\0\4\0\0\0", b"\5\0\0\0\4\0\0\1"
    if compressed:
        longer = zlib.compress(zlib.decompress(content[136:]).replace(shape, large, 1))
        content = content[:132] + len(longer).to_bytes(4, "little") + longer
    (tmp_path / "a.mat").write_bytes(content.replace(shape, large, 1))
    with pytest.raises(DataCorruptionError, match=r"a\.mat: a \(5 x 16777220 float64\) claims more numbers than its"):
        reader_class(tmp_path / "a.mat")().describe(tmp_path / "a.mat")


@pytest.mark.parametrize("chunks", [(1000, 1000), (30000, 30000)])
def test_sparse_datasets_of_hdf5_files(tmp_path, chunks):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (10**9, 10**6), chunks=chunks, dtype=np.float64)
    assert (tmp_path / "a.h5").stat().st_size < 10**5
    with pytest.raises(DataError, match=r"a\.h5 claims the dataset a of 7\.45e\+06 GiB"):
        read(tmp_path / "a.h5")


def test_members_of_tars(tmp_path, little_memory):
    members = {"x.bold.pyd": bytes(6 * MEBIBYTE), "x.more": bytes(6 * MEBIBYTE), "x.t_r.pyd": pickle.dumps(1.0)}
    path = write_members(tmp_path / "ds-a_sub-1_task-rest.tar.gz", members)
    assert path.stat().st_size < MEBIBYTE
    with pytest.raises(DataError, match=r"ds-a_sub-1_task-rest\.tar\.gz claims members of 0\.0117 GiB"):
        read_tar(path)


def test_texts(tmp_path, little_memory):
    import gzip

    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"1\t2\n" * 5 * MEBIBYTE))
    with pytest.raises(DataError, match=r"a\.tsv\.gz claims text of"):
        read_text_or_compressed(tmp_path / "a.tsv.gz")


def test_headers_of_edf_files_that_claim_more_than_there_is(tmp_path):
    header = b"0".ljust(168) + b"01.01.2001.01.01512     ".ljust(24) + b" " * 44 + b"99999999" + b"1       " + b"1   "
    fields = [b"Fz".ljust(16), b" " * 80, b"uV".ljust(8), b"-1".ljust(8), b"1".ljust(8), b"-9".ljust(8)]
    fields += [b"9".ljust(8), b" " * 80, b"99999999", b" " * 32]
    (tmp_path / "a.edf").write_bytes(header + b"".join(fields))
    with pytest.raises(DataCorruptionError, match=r"a\.edf is truncated: it has 512 bytes instead of"):
        read(tmp_path / "a.edf")


def test_numbers_in_pickles_of_tars_reserve_nothing(tmp_path):
    stream = io.BytesIO()
    pickle.Pickler(stream, 4).dump(np.zeros((3, 2), dtype=np.float32))
    content = stream.getvalue().replace(b"K\x03K\x02", b"J\xff\xff\xff\x7fK\x02")
    path = write_members(tmp_path / "a.tar", {"x.bold.pyd": content, "x.t_r.pyd": pickle.dumps(1.0)})
    with pytest.raises(DataError, match=r"a\.tar, x\.bold\.pyd"):
        read_tar(path)
