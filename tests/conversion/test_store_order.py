"""Subjects that are added later follow the store's order of channels, whatever the order in their files."""

import json

import numpy as np
import pytest

from dynml.conversion.creation import create_store
from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.errors import DataError
from dynml.store.reading import Store

NAMES = ("Cz", "Fz", "Oz", "Pz", "Tz")
STORED_ORDER = (3, 1, 4, 0, 2)
CHAINS = {
    "none": [],
    "left out and embedded": [
        "standardize",
        {"step": "select_channels", "exclude": ["Oz"]},
        {"step": "time_delay_embedding", "n_embeddings": 3},
    ],
    "named": [{"step": "select_channels", "channels": ["Tz", "Cz"]}],
    "fitted": [
        {"step": "select_channels", "exclude": ["Cz"]},
        "standardize",
        {"step": "sign_alignment", "n_embeddings": 3},
        {"step": "pca", "n_components": 3},
    ],
    "components of all": [{"step": "time_delay_embedding_pca", "n_embeddings": 3, "n_components": 4}],
}


def signals_of(number):
    generator = np.random.default_rng(number)
    mixing = np.random.default_rng(99).normal(size=(5, 5))
    noise = generator.normal(size=(260, 5))
    return (noise + 0.7 * np.roll(noise, 1, axis=0)) @ mixing + np.arange(5)


def save(folder, subject, order, number=None):
    path = folder / subject / "rest.csv"
    path.parent.mkdir(parents=True)
    rows = signals_of(ord(subject[0]) if number is None else number)[:, order]
    lines = [",".join(NAMES[place] for place in order)]
    lines += [",".join(repr(float(value)) for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def made_store(folder, preparation, match=True):
    for subject in ("a", "b", "c"):
        save(folder / "ready", subject, STORED_ORDER)
    group = {"type": "timeseries", "files": "rest.csv", "sampling_frequency": 100, "preparation": preparation}
    (folder / "config.json").write_text(json.dumps({"signals": {**group, "match_channels": match}}))
    (folder / "three.txt").write_text("a\nb\nc\n")
    (folder / "more.txt").write_text("n\nm\n")
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", {"training": folder / "three.txt"})
    return folder / "store.hdf5"


def rows_of(path, subject):
    with Store(path) as store:
        return store.attributes(subject, "signals").channel_names, store.read(subject, "signals")


@pytest.mark.filterwarnings("ignore:The stored fits", "ignore:.*in no list")
@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("orders", [((0, 1, 2, 3, 4), (0, 1, 2, 3, 4)), ((4, 3, 2, 1, 0), (2, 0, 1, 4, 3))])
def test_the_order_of_the_files_of_added_subjects_does_not_matter(tmp_path, kind, orders):
    found = {}
    for name, (first, second) in {"straight": (STORED_ORDER, STORED_ORDER), "permuted": orders}.items():
        folder = tmp_path / name
        folder.mkdir()
        path = made_store(folder, CHAINS[kind])
        save(folder / "ready", "n", first)
        save(folder / "ready", "m", second)
        add_subjects(folder / "ready", path, folder / "config.json", {"testing": folder / "more.txt"})
        save(folder / "others", "n", first)
        save(folder / "others", "m", second)
        apply_preparation(path, folder / "others", folder / "applied.hdf5")
        found[name] = [rows_of(one, subject) for one in (path, folder / "applied.hdf5") for subject in ("n", "m")]
        assert {names for names, _ in found[name]} == {rows_of(path, "a")[0]}
    for (_, straight), (_, permuted) in zip(found["straight"], found["permuted"], strict=True):
        np.testing.assert_array_equal(permuted, straight)


def test_each_stored_column_is_the_channel_of_its_name(tmp_path):
    path = made_store(tmp_path, [])
    save(tmp_path / "others", "n", (4, 3, 2, 1, 0))
    apply_preparation(path, tmp_path / "others", tmp_path / "applied.hdf5")
    names, rows = rows_of(tmp_path / "applied.hdf5", "n")
    assert names == tuple(NAMES[place] for place in STORED_ORDER)
    original = signals_of(ord("n"))[:, STORED_ORDER]
    np.testing.assert_allclose(rows, (original - original.mean(axis=0)) / original.std(axis=0), atol=1e-5)


def test_another_order_stays_refused_where_it_was_not_asked_for(tmp_path):
    path = made_store(tmp_path, [], match=False)
    save(tmp_path / "others", "n", (4, 3, 2, 1, 0))
    with pytest.raises(DataError, match="Subject n, group signals: channel 0 is 'Tz', but 'Pz' in"):
        apply_preparation(path, tmp_path / "others", tmp_path / "applied.hdf5")


@pytest.mark.parametrize("kind", ["none", "components of all"])
def test_other_names_stay_refused(tmp_path, kind):
    path = made_store(tmp_path, CHAINS[kind])
    save(tmp_path / "others", "n", (4, 3, 2, 1, 0))
    file = tmp_path / "others" / "n" / "rest.csv"
    file.write_text(file.read_text().replace("Fz", "Gz"))
    with pytest.raises(DataError, match="'Fz' is in one of them only" if "all" in kind else "but 'Pz' in"):
        apply_preparation(path, tmp_path / "others", tmp_path / "applied.hdf5")


def test_runs_of_one_subject_may_have_channels_in_any_order_where_they_are_matched(tmp_path):
    """Signals go by the names in each file; in the order of columns, channels of run 2 would be those of others."""
    for subject in ("a", "b"):
        save(tmp_path / "ready", subject, STORED_ORDER)
        save(tmp_path / "second", subject, (4, 3, 2, 1, 0), number=ord(subject) + 10)
        (tmp_path / "second" / subject / "rest.csv").rename(tmp_path / "ready" / subject / "task.csv")
    (tmp_path / "list.txt").write_text("a\nb\n")

    def make(**settings):
        group = {"type": "timeseries", "files": ["*.csv"], "sampling_frequency": 100, **settings}
        (tmp_path / "config.json").write_text(json.dumps({"signals": group}))
        files = {"training": tmp_path / "list.txt"}
        create_store(tmp_path / "ready", tmp_path / "store.hdf5", tmp_path / "config.json", files, overwrite=True)

    with pytest.raises(
        DataError, match="run task has the channels of run rest in another order .'Tz' in the place of '"
    ):
        make()
    make(match_channels=True, standardization="none")
    names, rows = rows_of(tmp_path / "store.hdf5", "a")
    assert names == tuple(NAMES[place] for place in STORED_ORDER)
    expected = np.concatenate([signals_of(ord("a")), signals_of(ord("a") + 10)])[:, STORED_ORDER]
    np.testing.assert_allclose(rows, expected, atol=1e-4)
    task = tmp_path / "ready" / "b" / "task.csv"
    task.write_text(task.read_text().replace("Fz", "Gz"))
    with pytest.raises(DataError, match="runs rest and task have different channel names: Fz, Gz in one of them only"):
        make(match_channels=True)
