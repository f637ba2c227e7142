import contextlib
import multiprocessing
import os
import pickle

import h5py
import numpy as np
import pytest
from store_making import Study, noise, two_subjects

from dynml.errors import DataCorruptionError, DataError
from dynml.store import nodes
from dynml.store.extraction import signals_in_original_units
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store


@pytest.fixture
def study(tmp_path):
    study = two_subjects(tmp_path)
    study.create().close()
    return study


def flip_bit(path, name, byte=40):
    """Flip one bit of the first chunk of a dataset."""
    with h5py.File(path) as file:
        offset = file[name].id.get_chunk_info(0).byte_offset + byte
    with path.open("r+b") as stream:
        stream.seek(offset)
        value = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([value ^ 1]))


def test_slices_are_those_of_the_whole(study):
    with Store(study.target) as store:
        whole = store.read("sub-a", "signals")
        assert whole.shape == (180, 4)
        assert whole.dtype == np.float32
        np.testing.assert_array_equal(store.read("sub-a", "signals", 100, 130), whole[100:130])


def test_signals_stay_open_up_to_a_limit(study, monkeypatch):
    monkeypatch.setattr(nodes, "MOST_OPENED", 1)
    with Store(study.target) as store:
        expected = {name: store.read(name, "signals") for name in ("sub-a", "sub-b")}
        assert not np.array_equal(expected["sub-a"][:10], expected["sub-b"][:10])
        for name in ("sub-a", "sub-b", "sub-b", "sub-a"):
            np.testing.assert_array_equal(store.read(name, "signals", 5, 50), expected[name][5:50])
            assert len(store._nodes._signals) == 1
    assert not store._nodes._signals


def test_a_sound_store_has_no_faults(study):
    assert faults_of_store(study.target) == []


def test_a_flipped_bit_in_the_data_is_caught_and_named(study):
    flip_bit(study.target, "subjects/sub-b/signals/data")
    store = Store(study.target)
    sentence = (
        r"store\.hdf5: the signals of subject sub-b, group signals cannot be read: .* do not match their checksum"
    )
    with pytest.raises(DataCorruptionError, match=sentence):
        store.read("sub-b", "signals")
    assert store.read("sub-a", "signals").shape == (180, 4)
    faults = faults_of_store(study.target)
    assert len(faults) == 1
    assert "sub-b" in faults[0]


@pytest.mark.parametrize("name", ["segments", "mean", "std", "source_samples", "segment_runs"])
def test_a_flipped_bit_beside_the_data_is_caught_too(study, name):
    flip_bit(study.target, f"subjects/sub-a/signals/{name}", byte=1)
    faults = faults_of_store(study.target)
    assert len(faults) == 1
    assert "sub-a" in faults[0]
    assert "checksum" in faults[0]


def test_any_flipped_bit_is_a_fault_or_harmless_but_never_a_crash(study, tmp_path):
    content = study.target.read_bytes()
    original = Store(study.target).read("sub-a", "signals")
    copy = tmp_path / "copy.h5"
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(generator.integers(8))
        copy.write_bytes(damaged)
        with contextlib.suppress(DataError):
            if not faults_of_store(copy):
                np.testing.assert_array_equal(Store(copy).read("sub-a", "signals"), original)


def test_every_corrupted_subject_is_listed(tmp_path):
    study = Study(tmp_path, {f"sub-{number}": [noise(50, seed=number)] for number in range(6)})
    study.create().close()
    for number in (1, 4):
        flip_bit(study.target, f"subjects/sub-{number}/signals/data")
    faults = faults_of_store(study.target)
    assert len(faults) == 2
    assert "sub-1" in faults[0]
    assert "sub-4" in faults[1]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_store_is_named_with_its_size(study, share):
    content = study.target.read_bytes()
    study.target.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"store\.hdf5 is (truncated|not an HDF5 file)"):
        Store(study.target)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.h5 does not exist"):
        Store(tmp_path / "nothing.h5")
    with pytest.raises(DataError, match="is a folder"):
        Store(tmp_path)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(DataError, match=r"pipe\.h5 is a named pipe, but must be a file"):
        Store(tmp_path / "pipe.h5")
    (tmp_path / "text.h5").write_text("some text\n" * 100)
    with pytest.raises(DataError, match=r"text\.h5 is not an HDF5 file \(1000 bytes\)"):
        Store(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match=r"foreign\.h5 is an HDF5 file, but no store of dynml"):
        Store(tmp_path / "foreign.h5")


def test_a_future_format_is_refused_with_both_versions(study):
    with h5py.File(study.target, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(DataError, match="format version 2, but this version of dynml reads up to 1"):
        Store(study.target)


@pytest.mark.parametrize("name", ["subjects", "subsets/testing"])
def test_missing_parts_are_named(study, name):
    with h5py.File(study.target, "r+") as file:
        del file[name]
    with pytest.raises(DataCorruptionError, match=f"lacks '{name}'"):
        Store(study.target)


@pytest.mark.parametrize("name", ["format_version", "config"])
def test_missing_root_attributes_are_named(study, name):
    with h5py.File(study.target, "r+") as file:
        del file.attrs[name]
    with pytest.raises(DataCorruptionError, match=f"lacks the attribute '{name}'"):
        Store(study.target)


@pytest.mark.parametrize("name", ["data", "segments", "mean", "run_names"])
def test_missing_datasets_are_named(study, name):
    with h5py.File(study.target, "r+") as file:
        del file[f"subjects/sub-b/signals/{name}"]
    with pytest.raises(DataCorruptionError, match=f"subject sub-b, group signals lacks {name}"):
        Store(study.target).attributes("sub-b", "signals")
    assert any("sub-b" in fault and name in fault for fault in faults_of_store(study.target))


@pytest.mark.parametrize("name", ["sampling_frequency", "channel_names", "rank", "sha256"])
def test_missing_attributes_are_named(study, name):
    with h5py.File(study.target, "r+") as file:
        del file["subjects/sub-b/signals"].attrs[name]
    with pytest.raises(DataCorruptionError, match=f"subject sub-b, group signals lacks {name}"):
        Store(study.target).attributes("sub-b", "signals")


def change(study, name, value):
    with h5py.File(study.target, "r+") as file:
        file[name][...] = value


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("segments", [[0, 120], [110, 180]], "overlap"),
        ("segments", [[0, 120], [120, 181]], "outside of the data"),
        ("segments", [[0, 120], [120, 120]], "empty segment"),
        ("segment_runs", [0, 2], "do not belong to the 2 runs"),
        ("source_samples", [[0, 0], [3, 1]], "crosses the border of its run"),
        ("source_samples", [[0, 0], [0, 0]], "contradict the segments"),
        ("std", 0.0, "standard deviation that is not above 0"),
        ("data", 0.0, "SHA-256 differs"),
        ("data", np.nan, "720 values within its segments are NaN"),
    ],
)
def test_contradictions_are_faults(study, name, value, fault):
    change(study, f"subjects/sub-a/signals/{name}", value)
    faults = faults_of_store(study.target)
    assert any(fault in text and "sub-a, group signals" in text for text in faults), faults


def test_contradictions_of_subsets_are_faults(study):
    with h5py.File(study.target, "r+") as file:
        for subset, names in {"training": ["sub-a", "sub-x"], "validation": ["sub-a"]}.items():
            del file[f"subsets/{subset}"]
            file.create_dataset(f"subsets/{subset}", data=names, dtype=h5py.string_dtype())
    faults = " ".join(faults_of_store(study.target))
    assert "subject sub-x of the subset training is not in the file" in faults
    assert "subject sub-a is listed twice, in training and validation" in faults
    assert "subject sub-b is in no subset" in faults


def test_a_participant_on_both_sides_is_a_fault(study):
    with h5py.File(study.target, "r+") as file:
        del file["subsets/training"], file["subsets/testing"]
        file.create_dataset("subsets/training", data=["sub-a"], dtype=h5py.string_dtype())
        file.create_dataset("subsets/testing", data=["sub-b"], dtype=h5py.string_dtype())
        file["subjects/sub-b"].attrs["participant"] = "sub-a"
    assert any("participant sub-a is in two subsets" in fault for fault in faults_of_store(study.target))


def test_unknown_names_come_with_the_nearest(study):
    store = Store(study.target)
    with pytest.raises(DataError, match=r"no subject 'sub-A' \(did you mean 'sub-a'\?\)"):
        store.read("sub-A", "signals")
    with pytest.raises(DataError, match=r"subject sub-a has no group 'signal' \(did you mean 'signals'\?\)"):
        store.attributes("sub-a", "signal")
    with pytest.raises(DataError, match="'train' is not a subset"):
        store.subset("train")
    with pytest.raises(DataError, match="no subject 'sub-a/signals'"):
        store.groups("sub-a/signals")


def test_a_file_that_is_being_written_is_locked(study):
    with h5py.File(study.target, "r+"), pytest.raises(DataError, match="locked: another process is writing to it"):
        _in_child(_open_store, str(study.target))


def _open_store(path, queue):
    try:
        Store(path)
        queue.put(None)
    except DataError as error:
        queue.put(error)


def _read_sum(store, queue):
    queue.put(float(store.read("sub-a", "signals").sum()))


def _in_child(function, argument, method="spawn"):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=function, args=(argument, queue))
    process.start()
    result = queue.get(timeout=1800)
    process.join()
    if isinstance(result, Exception):
        raise result
    return result


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_an_open_store_serves_other_processes(study, method):
    store = Store(study.target)
    expected = float(store.read("sub-a", "signals").sum())
    assert _in_child(_read_sum, store, method) == expected
    assert float(store.read("sub-a", "signals").sum()) == expected


def test_no_handle_is_pickled_and_a_closed_store_opens_again(study):
    store = Store(study.target)
    store.close()
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read("sub-b", "signals"), store.read("sub-b", "signals"))
    assert copy.segments("sub-a", "signals").tolist() == [[0, 120], [120, 180]]


def test_a_fingerprint_tells_data_participants_and_order_apart(tmp_path, study):
    store = Store(study.target)
    both = store.fingerprint("signals", ["sub-a", "sub-b"])
    assert both == Store(study.target).fingerprint("signals", ["sub-a", "sub-b"])
    assert len({both, store.fingerprint("signals", ["sub-b", "sub-a"]), store.fingerprint("signals", ["sub-a"])}) == 3
    store.close()
    study.save("sub-b", 0, study.runs["sub-b"][0] * np.float32(1.001) + np.eye(80, 4, dtype=np.float32))
    assert study.create(overwrite=True).fingerprint("signals", ["sub-a", "sub-b"]) != both


def test_the_same_sources_give_the_same_fingerprint(study):
    first = Store(study.target).fingerprint("signals", ["sub-a", "sub-b"])
    assert study.create(overwrite=True).fingerprint("signals", ["sub-a", "sub-b"]) == first


@pytest.mark.parametrize("method", ["per_run", "per_subject", "none"])
def test_original_units_come_back(tmp_path, method):
    study = two_subjects(tmp_path, standardization=method)
    store = study.create()
    expected = np.concatenate(study.runs["sub-a"])
    np.testing.assert_allclose(signals_in_original_units(store, "sub-a", "signals"), expected, rtol=1e-5, atol=1e-4)


def test_a_file_without_permission_is_named(study):
    if os.geteuid() == 0:
        pytest.skip("root may read anything")
    study.target.chmod(0)
    with pytest.raises(DataError, match="may not be read by this user"):
        Store(study.target)
