"""Chunks of signals that are written and read without HDF5's own way to them are those that it writes and reads."""

import h5py
import numpy as np
import pytest
from store_making import Study, noise

from dynml.errors import DataError
from dynml.store import verification
from dynml.store import writing as store_writing
from dynml.store.chunks import rows
from dynml.store.chunks.checksum import MOST_PAIRS, PAIRS_OF_ROW, Fletcher32
from dynml.store.chunks.rows import blocks_of_rows, write_rows
from dynml.store.file import LIBRARY_VERSIONS
from dynml.store.verification import faults_of_store


@pytest.mark.parametrize("kind", ["random", "zeros", "ones", "sums to a multiple of the modulus"])
@pytest.mark.parametrize(
    "n_pairs", [1, 359, PAIRS_OF_ROW, PAIRS_OF_ROW + 1, 5 * PAIRS_OF_ROW - 1, MOST_PAIRS + PAIRS_OF_ROW + 3]
)
def test_the_checksum_is_that_of_hdf5(kind, n_pairs, tmp_path):
    values = {
        "random": np.random.default_rng(n_pairs).integers(0, 2**32, n_pairs, dtype=np.uint32),
        "zeros": np.zeros(n_pairs, dtype=np.uint32),
        "ones": np.full(n_pairs, 2**32 - 1, dtype=np.uint32),
        "sums to a multiple of the modulus": np.resize(np.array([0xFFFF0000, 0x0001FFFE], dtype=np.uint32), n_pairs),
    }[kind]
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        dataset = file.create_dataset("a", data=values, chunks=values.shape, fletcher32=True)
        _, content = dataset.id.read_direct_chunk((0,))
    checksum = Fletcher32()
    for _ in range(2):  # its memory is used again
        assert checksum(np.frombuffer(content[:-4], dtype=np.uint8)) == int.from_bytes(content[-4:], "little")


@pytest.mark.parametrize(("n_samples", "n_rows"), [(100, 33), (100, 50), (100, 100), (2, 1)])
def test_signals_are_written_as_h5py_writes_them(n_samples, n_rows, tmp_path):
    signals = noise(n_samples, seed=n_rows).astype(np.float32)
    with h5py.File(tmp_path / "own.hdf5", "w", libver=LIBRARY_VERSIONS) as file:
        write_rows(file.create_group("a/b"), "data", signals, n_rows)
    with h5py.File(tmp_path / "of_h5py.hdf5", "w", libver=LIBRARY_VERSIONS) as file:
        group = file.create_group("a/b")
        group.create_dataset("data", data=signals, chunks=(n_rows, signals.shape[1]), fletcher32=True)
    assert (tmp_path / "own.hdf5").read_bytes() == (tmp_path / "of_h5py.hdf5").read_bytes()


OPTIONS = {
    "chunks of rows": {"chunks": (33, 4), "fletcher32": True},
    "chunks of some channels": {"chunks": (33, 2), "fletcher32": True},
    "compressed": {"chunks": (33, 4), "fletcher32": True, "compression": "gzip"},
    "without a checksum": {"chunks": (33, 4)},
    "side by side": {},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_signals_are_read_however_they_are_laid_out(options, tmp_path):
    signals = noise(250).astype(np.float32)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("whole", data=signals, **options)
        file.create_dataset("in part", signals.shape, np.float32, **options)[200:] = signals[200:]
    with h5py.File(tmp_path / "a.hdf5") as file:
        for name in ("whole", "in part"):
            blocks = [block.copy() for block in blocks_of_rows(file[name], 4 * 4 * 70)]
            assert len(blocks) > 2
            np.testing.assert_array_equal(np.concatenate(blocks), file[name][:])


def test_a_block_outlasts_the_reading_of_the_next_one(tmp_path):
    signals = noise(250).astype(np.float32)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        write_rows(file, "a", signals, 20)
        before = None
        for number, block in enumerate(blocks_of_rows(file["a"], 4 * 4 * 20)):
            if before is not None:
                np.testing.assert_array_equal(before, signals[20 * (number - 1) : 20 * number])
            before = block


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(store_writing, "BYTES_PER_CHUNK", 4 * 4 * 50)
    monkeypatch.setattr(verification, "BYTES_PER_BLOCK", 4 * 4 * 100)
    return Study(tmp_path, {"sub-a": [noise(330)]})


def flip(path, chunk, place):
    with h5py.File(path) as file:
        offset = file["subjects/sub-a/signals/data"].id.get_chunk_info(chunk).byte_offset
    with path.open("r+b") as stream:
        stream.seek(offset + place)
        byte = stream.read(1)[0]
        stream.seek(offset + place)
        stream.write(bytes([byte ^ 16]))


PLACES = pytest.mark.parametrize(
    "place", [0, 799, 800, 803], ids=["first byte", "last byte", "checksum", "end of checksum"]
)


@PLACES
@pytest.mark.parametrize("chunk", [0, 3, 6])
def test_each_flipped_bit_of_a_chunk_is_found(place, chunk, study):
    study.create().close()
    assert not faults_of_store(study.target)
    flip(study.target, chunk, place)
    (fault,) = faults_of_store(study.target)
    assert "the signals of subject sub-a, group signals cannot be read" in fault
    assert "do not match their checksum" in fault


@PLACES
@pytest.mark.parametrize("each", [None, map], ids=["one process", "several"])
def test_each_bit_that_flips_before_a_new_store_is_verified_is_found(place, each, study, monkeypatch):
    def flipped_then_verified(path, _, written):
        assert [len(checksums) for checksums in written["sub-a"].values()] == [7]
        flip(path, 1, place)
        return faults_of_store(path, each, written)

    monkeypatch.setattr(verification, "faults_of_store", flipped_then_verified)
    with pytest.raises(DataError, match=r"was not written, because its copy did not verify: .*sub-a"):
        study.create()
    assert not study.target.exists()


def test_checksums_that_were_written_are_not_worked_out_anew(study, monkeypatch):
    worked_out = []

    class Counted(Fletcher32):
        def __call__(self, content):
            worked_out.append(len(content))
            return super().__call__(content)

    monkeypatch.setattr(rows, "Fletcher32", Counted)
    study.create().close()
    assert worked_out == [800] * 7
    assert not faults_of_store(study.target)
    assert worked_out == [800] * 14


def test_chunks_are_read_without_hdf5s_own_way(study, monkeypatch):
    study.create().close()
    monkeypatch.setattr(rows.h5py.Dataset, "__getitem__", None)
    assert not faults_of_store(study.target)
