"""A format's keys stand with its reader alone: help, guide, checks and refusals follow from there."""

import json
import re
import sys
import textwrap

import numpy as np
import pytest
from installing import describe

from dynml.cli.commands.store_commands import parse_creation
from dynml.configuration import defaults_of
from dynml.conversion.config import defaults_of_keys, store_config_from
from dynml.conversion.creation import create_store
from dynml.conversion.keys import sections_of_keys
from dynml.dataset.preparation_signature import preparation_signature
from dynml.errors import ConfigurationError, DataError
from dynml.readers.formats import configs_of_formats, reader_class
from dynml.store.reading import Store

MODULE = '''
    from dataclasses import dataclass

    import numpy as np

    from dynml.configuration import check_positive
    from dynml.readers import FileDescription, Reader, ReaderConfig


    @dataclass(frozen=True, kw_only=True)
    class SigConfig(ReaderConfig):
        gain: float = 1.0
        """Microvolts of one
        unit."""
        picks: int | None = None
        """Number of a channel."""

        def __post_init__(self):
            check_positive("gain", self.gain)
            check_positive("picks", self.picks, optional=True)


    class SigReader(Reader):
        Config = SigConfig

        def describe(self, path):
            return FileDescription(n_samples=len(np.loadtxt(path)), n_channels=2)

        def read(self, path):
            return np.loadtxt(path) * self.config.gain

        def note(self, path, run):
            return [{"step": "gain", "microvolts": self.config.gain, "runs": {run: len(np.loadtxt(path))}}]
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A package of one module, which has a reader with a key."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sig_parts.py").write_text(textwrap.dedent(MODULE))
    (site / "sig_faulty.py").write_text(textwrap.dedent(MODULE).replace("gain: float = 1.0", "gain: float"))
    (site / "sig_taken.py").write_text(textwrap.dedent(MODULE).replace("picks", "events"))
    plain = textwrap.dedent(MODULE).replace("@dataclass(frozen=True, kw_only=True)", "")
    (site / "sig_plain.py").write_text(plain)
    kinds = {".sig": "parts", ".bad": "faulty", ".own": "taken", ".raw": "plain"}
    entries = {extension: f"sig_{name}:SigReader" for extension, name in kinds.items()}
    describe(site, "sig-parts", "1.0", {"dynml.readers": entries})
    monkeypatch.syspath_prepend(site)
    yield
    for name in kinds.values():
        sys.modules.pop(f"sig_{name}", None)


def shown_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dynml_create_hdf5_dataset.py", "--help"])
    with pytest.raises(SystemExit):
        parse_creation("Make a store.")
    return capsys.readouterr().out


def store_of(folder, extension, **keys):
    """Make a store of two subjects with two runs each, and give it with the samples of the first."""
    samples = np.random.default_rng(0).normal(size=(4, 100, 2)).round(3)
    for number, run in enumerate(samples):
        path = folder / "ready" / f"s{number // 2}" / f"run-{number % 2}{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            np.save(stream, run) if extension == ".npy" else np.savetxt(stream, run)
    group = {"type": "timeseries", "files": [f"run-*{extension}"], "sampling_frequency": 10, "standardization": "none"}
    (folder / "config.json").write_text(json.dumps({"signals": group | keys}))
    (folder / "training.txt").write_text("s0\n")
    (folder / "validation.txt").write_text("s1\n")
    lists = {name: folder / f"{name}.txt" for name in ("training", "validation")}
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", lists)
    return folder / "store.hdf5", samples[:2].reshape(-1, 2)


@pytest.mark.usefixtures("added")
def test_a_key_that_a_reader_adds_is_shown_by_the_help(monkeypatch, capsys):
    shown = shown_help(monkeypatch, capsys)
    own = shown.partition("Keys of a group of .sig files:\n")[2].partition("\n\n")[0]
    assert re.fullmatch(r" +gain +Microvolts of one unit\. \(1\.0\)\n +picks +Number of a channel\.", own)


@pytest.mark.usefixtures("added")
def test_a_key_that_a_reader_adds_is_read_noted_and_compared(tmp_path):
    path, samples = store_of(tmp_path, ".sig", gain=2.5)
    with Store(path) as store:
        np.testing.assert_allclose(store.read("s0", "signals"), 2.5 * samples, rtol=1e-6)
        first, *_ = store.attributes("s0", "signals").preparation
        assert first == {"step": "gain", "microvolts": 2.5, "runs": {"run-0": 100, "run-1": 100}}
        assert preparation_signature(store, "signals", ["s0"])["settings"] == {"gain": 2.5}


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    ("extension", "keys", "sentence"),
    [
        (".sig", {"gain": -1}, r"^signals\.gain is -1, but must be a number above 0\."),
        (".npy", {"gain": -1}, r"^signals\.gain is -1, but must be a number above 0\."),
        (".sig", {"gian": 2}, r"^signals\.gian is 2, but must be a known setting \(did you mean 'gain'\?\)"),
        (
            ".npy",
            {"gain": 2},
            r"^signals\.gain is 2, but .* for files like run-0\.npy: it is a key of \.own \.sig\.",
        ),
        (
            ".sig",
            {"variable": "X"},
            r"^signals\.variable .* for files like run-0\.sig: it is a key of \.npz \.mat \.h5",
        ),
        (".sig", {"picks": "eeg"}, r"^signals\.picks is 'eeg', but must be a number above 0\."),
        (".sig", {"picks": {}}, r"^signals\.picks is {}, but must be a type of channels, a name, or a list of them\."),
    ],
)
def test_a_key_that_a_reader_adds_is_checked_and_refused_for_other_formats(tmp_path, extension, keys, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        store_of(tmp_path, extension, **keys)


@pytest.mark.usefixtures("added")
def test_a_default_is_no_key_that_is_given(tmp_path):
    store_of(tmp_path, ".npy", gain=1.0, atlas=None, motion_correction=False, picks=None)
    store_of(tmp_path / "sig", ".sig", picks=1, time_axis="first")


@pytest.mark.usefixtures("added")
def test_a_reader_whose_keys_cannot_be_told_apart_is_refused(tmp_path):
    for extension in (".bad", ".raw"):
        with pytest.raises(
            DataError, match=rf"^The package .* cannot be used: .*'\{extension}'.* a default for each key"
        ):
            reader_class(tmp_path / f"a{extension}")
    with pytest.raises(DataError, match=r"^run-0\.own cannot be read: its reader has a key 'events', which every"):
        store_of(tmp_path, ".own")
    with pytest.raises(ConfigurationError, match=r"'files'\?\); The package sig-parts .* '\.bad' .* for each key\.$"):
        store_config_from({"signals": {"type": "timeseries", "files": ["a.npy"], "file": 1}}, tmp_path)


def test_the_help_shows_every_key_of_every_format_with_a_meaning(monkeypatch, capsys):
    shown = shown_help(monkeypatch, capsys)
    sections = sections_of_keys()
    assert all(text for keys in sections.values() for _, text in keys.values())
    assert set(defaults_of_keys()) <= {key for keys in sections.values() for key in keys}
    for extension, config in configs_of_formats().items():
        title = rf"Keys of a group of [^\n]*(?<= ){re.escape(extension)} [^\n]*files:\n"
        place = re.search(rf"{title}(.*?)\n\n", shown, flags=re.DOTALL)
        found = re.findall(r"^  (\w+) ", place[1], flags=re.MULTILINE) if place else []
        assert found == list(defaults_of(config)), extension
