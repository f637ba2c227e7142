"""Text in Latin-1, ANSI or what the user states: annotations, markers, names, tables, and the store made of them."""

import json

import edfio
import numpy as np
import pybv
import pytest
import scipy.io
from damaged_files import eeglab_struct

from dynml.conversion.creation import create_store
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.readers import reader_class
from dynml.reading_files import stated_encoding
from dynml.store.reading import Store

SIGNALS = np.random.default_rng(0).normal(size=(200, 2)) * 20


def described(path):
    return reader_class(path)().describe(path)


def edf(path, text=b"m\xfcde"):
    signals = [edfio.EdfSignal(column, 100, label=name) for name, column in zip(("Fz", "Cz"), SIGNALS.T)]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(0.5, None, "mude")]).write(path)
    path.write_bytes(path.read_bytes().replace(b"mude", text))
    return path


def brainvision(folder, name="Fz"):
    names = [name, "Cz"]
    events = [{"onset": 20, "duration": 1, "description": "mude", "type": "Comment"}]
    pybv.write_brainvision(
        data=SIGNALS.T * 1e-6, sfreq=100.0, ch_names=names, fname_base="a", folder_out=folder, events=events
    )
    for extension in (".vhdr", ".vmrk"):
        content = (folder / f"a{extension}").read_text(encoding="utf-8").replace("Codepage=UTF-8\n", "")
        (folder / f"a{extension}").write_bytes(content.replace("mude", "müde").encode("cp1252"))
    return folder / "a.vhdr"


def labels_of(path):
    events = described(path).events
    assert events is not None
    return events.labels["description"]


@pytest.mark.parametrize(("text", "label"), [(b"m\xfcde", "müde"), ("müd".encode(), "müd"), (b"5 \x80 ", "5 €")])
def test_annotations_of_edf_files(tmp_path, text, label):
    assert labels_of(edf(tmp_path / "a.edf", text)) == [label]


def test_annotations_of_edf_files_in_the_encoding_that_is_stated(tmp_path):
    path = edf(tmp_path / "a.edf", "спит".encode("koi8-r"))
    with stated_encoding("koi8-r"):
        assert labels_of(path) == ["спит"]
    with stated_encoding("utf-8"), pytest.raises(DataError, match=r"a\.edf has annotations that are not text in utf-8"):
        described(path)
    with pytest.raises(DataError, match=r"a\.edf has annotations that are not text in UTF-8 nor in Windows-1252"):
        described(edf(tmp_path / "a.edf", b"m\x81de"))


def test_names_and_markers_of_brainvision_files(tmp_path):
    path = brainvision(tmp_path, name="Fz\u00b5")
    description = described(path)
    assert description.channel_names == ("Fz\u00b5", "Cz")
    assert labels_of(path) == ["Comment/müde"]
    np.testing.assert_allclose(reader_class(path)().read(path), SIGNALS * 1e-6, atol=1e-7)
    with stated_encoding("cp1251"):
        assert labels_of(path) == ["Comment/" + b"m\xfcde".decode("cp1251")]
    markers = path.with_suffix(".vmrk")
    markers.write_bytes(markers.read_bytes().replace(b"[Common Infos]", b"[Common Infos]\nCodepage=cp850", 1))
    assert labels_of(path) == ["Comment/" + b"m\xfcde".decode("cp850")]


def test_names_of_eeglab_files(tmp_path):
    content = eeglab_struct(SIGNALS, names=("Fz\u00fc", "Cz"))
    scipy.io.savemat(tmp_path / "a.set", {"EEG": content}, appendmat=False)
    assert described(tmp_path / "a.set").channel_names == ("Fz\u00fc", "Cz")
    # As MATLAB writes it: characters as numbers of two bytes, of type 4.
    utf_8 = b"\x10\0\4\0Fz\xc3\xbc"
    content = (tmp_path / "a.set").read_bytes()
    assert content.count(utf_8) == 1
    characters = b"\4\0\0\0\6\0\0\0" + "Fz\u00fc".encode("utf-16-le") + b"\0\0"
    place = content.index(utf_8)
    longer = bytearray(content[:place] + characters + content[place + 8 :])
    sizes = _sizes_around(bytes(longer), place, len(characters) - 8)
    for start, size in sizes:
        longer[start : start + 4] = size.to_bytes(4, "little")
    (tmp_path / "a.set").write_bytes(longer)
    assert described(tmp_path / "a.set").channel_names == ("Fz\u00fc", "Cz")


def _sizes_around(content, place, more):
    """Where the sizes of the matrices (type 14) around a place stand, and what they become."""
    found = []
    for start in range(128, place, 8):
        kind, size = (int.from_bytes(content[start + first : start + first + 4], "little") for first in (0, 4))
        if kind == 14 and start + 8 <= place < start + 8 + size:
            found.append((start + 4, size + more))
    return found


def study(folder, **settings):
    for subject in ("sub-01", "sub-02"):
        (folder / "d" / subject).mkdir(parents=True)
        np.savetxt(folder / "d" / subject / "a.csv", SIGNALS, delimiter=",")
        events = "onset\tduration\tcondition\n0.1\t0.5\tmüde\n"
        (folder / "d" / subject / "events.tsv").write_bytes(events.encode("latin-1"))
    (folder / "list.txt").write_bytes("# für alle\nsub-01\nsub-02\n".encode("latin-1"))
    (folder / "names.txt").write_bytes("Größe\nCz\n".encode("latin-1"))
    group = {"type": "timeseries", "files": ["a.csv"], "sampling_frequency": 100, "events": "events.tsv", **settings}
    (folder / "c.json").write_bytes(json.dumps({"eeg": {**group, "channel_names": "names.txt"}}).encode())
    create_store(folder / "d", folder / "s.hdf5", folder / "c.json", {"training": folder / "list.txt"})
    return Store(folder / "s.hdf5")


def test_tables_lists_and_names_are_read_and_told_in_one_line(tmp_path):
    with pytest.warns(DataWarning) as caught:
        store = study(tmp_path)
    with store:
        assert store.events("sub-01", "eeg").names == {"condition": ("müde",)}
        assert store.attributes("sub-01", "eeg").channel_names == ("Größe", "Cz")
    told = [str(one.message) for one in caught if "was read as cp1252" in str(one.message)]
    assert len(told) == 1
    assert all(name in told[0] for name in ("list.txt", "names.txt", "events.tsv", "set the key 'encoding'"))


def test_the_key_encoding_of_a_group_is_for_all_of_its_text(tmp_path):
    with pytest.warns(DataWarning, match=r"was read as cp1252.*list\.txt\.$"):
        store = study(tmp_path, encoding="cp850")
    with store:
        assert store.attributes("sub-01", "eeg").channel_names == ("Größe".encode("latin-1").decode("cp850"), "Cz")
        assert store.events("sub-01", "eeg").names == {"condition": (b"m\xfcde".decode("cp850"),)}


@pytest.mark.parametrize("encoding", ["no such", "hex", 3])
def test_encodings_that_there_are_not_are_refused(tmp_path, encoding):
    with pytest.raises(ConfigurationError, match=r"eeg\.encoding is .* but must be"):
        study(tmp_path, encoding=encoding)
