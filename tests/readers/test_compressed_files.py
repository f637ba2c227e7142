"""Flipped bits of compressed files are noticed, wherever they are; whole files of several members are read."""

import bz2
import gzip

import nibabel
import numpy as np
import pytest
import scipy.io
from recordings_making import raw_of, volts

from dynml.compressed import check_compressed, read_text_or_compressed
from dynml.errors import DataCorruptionError, DataError
from dynml.readers import reader_class
from dynml.readers.fmri.atlas import LabelAtlas
from dynml.readers.fmri.nifti import NiftiConfig

N_FLIPS = 30


def nifti(folder):
    generator = np.random.default_rng(0)
    labels = (np.arange(5 * 5 * 5).reshape(5, 5, 5) % 3).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / "atlas.nii.gz")
    image = nibabel.Nifti1Image(generator.normal(100, 1, (5, 5, 5, 20)).astype(np.float32), np.eye(4))
    image.header.set_zooms((1, 1, 1, 2.0))
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz", NiftiConfig(atlas=folder / "atlas.nii.gz")


def fif(folder):
    raw_of(volts(3)).save(folder / "a_raw.fif.gz")
    return folder / "a_raw.fif.gz", None


def table(folder):
    np.savetxt(folder / "a.tsv.gz", np.random.default_rng(0).normal(size=(100, 3)), delimiter="\t")
    return folder / "a.tsv.gz", None


def npz(folder):
    np.savez_compressed(folder / "a.npz", a=np.random.default_rng(0).normal(size=(100, 3)))
    return folder / "a.npz", None


def stored_npz(folder):
    np.savez(folder / "a.npz", a=np.random.default_rng(0).normal(size=(100, 3)))
    return folder / "a.npz", None


def matlab(folder):
    scipy.io.savemat(folder / "a.mat", {"a": np.random.default_rng(0).normal(size=(100, 3))}, do_compression=True)
    return folder / "a.mat", None


@pytest.mark.parametrize("made", [nifti, fif, table, npz, stored_npz, matlab])
def test_no_flipped_bit_changes_a_number_unnoticed(tmp_path, made):
    path, keys = made(tmp_path)
    content = path.read_bytes()
    whole = reader_class(path)(keys).read(path)
    refusals = []
    for place in np.random.default_rng(1).integers(8 * len(content), size=N_FLIPS).tolist():
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            reader = reader_class(path)(keys)
            reader.describe(path)
            found = reader.read(path)
        except DataError as error:
            refusals.append(str(error))
        else:
            np.testing.assert_array_equal(found, whole)
    assert len(refusals) > N_FLIPS // 2
    assert all(path.name in sentence for sentence in refusals)


def test_a_damaged_checksum_alone_is_noticed(tmp_path):
    path, keys = nifti(tmp_path)
    content = bytearray(path.read_bytes())
    for from_end in (-1, -5):  # the length, and the checksum
        path.write_bytes(content[:from_end] + bytes([content[from_end] ^ 1]) + content[len(content) + from_end + 1 :])
        with pytest.raises(DataCorruptionError, match=r"a\.nii\.gz is truncated or damaged within its compression"):
            reader_class(path)(keys).read(path)
    atlas = tmp_path / "atlas.nii.gz"
    atlas.write_bytes(atlas.read_bytes()[:-5] + b"\1\2\3\4\5")
    with pytest.raises(
        DataCorruptionError, match=r"The atlas .*atlas\.nii\.gz is not a readable NIfTI image: CRC check"
    ):
        LabelAtlas(atlas)


def test_files_of_several_members_are_whole(tmp_path):
    path, keys = nifti(tmp_path)
    plain = gzip.decompress(path.read_bytes())
    whole = reader_class(path)(keys).read(path)
    members = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]) + gzip.compress(b"")
    path.write_bytes(members + bytes(512))
    np.testing.assert_array_equal(reader_class(path)(keys).read(path), whole)
    path.write_bytes(members + b"no member")
    with pytest.raises(DataCorruptionError, match="Not a gzipped file"):
        reader_class(path)(keys).read(path)
    path.write_bytes(members[:-30])
    with pytest.raises(DataCorruptionError, match="ended before the end-of-stream"):
        reader_class(path)(keys).read(path)


def test_bombs_end(tmp_path):
    path, keys = nifti(tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())) + gzip.compress(bytes(200 * 2**20)))
    with pytest.raises(DataCorruptionError, match=r"a\.nii\.gz continues for more than 64 MiB after its end"):
        reader_class(path)(keys).read(path)
    bomb = tmp_path / "b_raw.fif.gz"
    bomb.write_bytes(gzip.compress(gzip.decompress(fif(tmp_path)[0].read_bytes())) + gzip.compress(bytes(100 * 2**20)))
    with pytest.raises(DataCorruptionError, match=r"b_raw\.fif\.gz"):
        reader_class(bomb)().describe(bomb)


def test_texts_may_be_compressed(tmp_path):
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress("a\tä\n".encode()))
    (tmp_path / "a.tsv.bz2").write_bytes(bz2.compress(b"a\tb\n"))
    assert read_text_or_compressed(tmp_path / "a.tsv.gz") == "a\tä\n"
    assert read_text_or_compressed(tmp_path / "a.tsv.bz2") == "a\tb\n"
    (tmp_path / "a.tsv.bz2").write_bytes(bz2.compress(b"a\tb\n")[:-3])
    with pytest.raises(DataCorruptionError, match=r"a\.tsv\.bz2 is truncated or damaged"):
        check_compressed(tmp_path / "a.tsv.bz2")
