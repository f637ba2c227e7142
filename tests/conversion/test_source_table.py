"""A table of files in the place of a folder a subject: what is stored, and each mistake in one sentence."""

import json

import h5py
import numpy as np
import pytest
from store_making import noise

from dynml.conversion.creation import create_store
from dynml.conversion.subset_drawing import Draw
from dynml.errors import DataError, DataWarning, DynmlError
from dynml.store.reading import Store

ROWS = [
    "subject,session,run,file,group,subset,age",
    "p1,1,rest,data/a.npy,signals,training,30",
    "p1,ses-2,,data/b.npy,signals,training,31",
    "p2,,one,data/c.npy,signals,validation,n/a",
    "p2,,two,data/ä b.npy,signals,validation,",
]
GROUP = {"type": "timeseries", "sampling_frequency": 100.0}


def study(folder, rows=ROWS, name="files.csv", **groups):
    """Write six recordings, a table and a config."""
    (folder / "data").mkdir()
    for number, stem in enumerate(["a", "b", "c", "ä b", "e", "f"]):
        np.save(folder / "data" / f"{stem}.npy", noise(60 + number, seed=number))
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(groups or {"signals": GROUP}))
    return folder / name, folder / "store.hdf5", folder / "config.json"


def test_sessions_become_subjects_of_one_participant(tmp_path):
    create_store(*study(tmp_path))
    with Store(tmp_path / "store.hdf5") as store:
        assert store.subset("training") == ["p1_ses-1", "p1_ses-2"]
        assert store.subset("validation") == ["p2"]
        assert [store.participant(name) for name in store.subjects] == ["p1", "p1", "p2"]
        assert store.covariates("p1_ses-2") == {"age": "31"}
        assert store.covariates("p2") == {}
        assert store.run_names("p1_ses-1", "signals") == ["rest"]
        assert store.run_names("p1_ses-2", "signals") == ["b"]
        assert store.run_names("p2", "signals") == ["one", "two"]
        raw = np.concatenate([np.load(tmp_path / "data" / f"{stem}.npy") for stem in ("c", "ä b")])
        parts = [raw[:62], raw[62:]]
        expected = np.concatenate([(part - part.mean(0)) / part.std(0) for part in parts])
        np.testing.assert_allclose(store.read("p2", "signals"), expected, atol=1e-5)
        assert [source.file for source in store.attributes("p2", "signals").sources] == ["data/c.npy", "data/ä b.npy"]


def test_tabs_groups_and_events(tmp_path):
    (tmp_path / "events.tsv").write_text("onset\tduration\tkind\n0.1\t0.2\tface\n", encoding="utf-8")
    rows = [
        "subject\tfile\tgroup\tsubset\tevents",
        "p1\tdata/a.npy\tmeg\ttraining\tevents.tsv",
        "p1\tdata/b.npy\tbreath\ttraining\t",
        "p2\tdata/c.npy\tbreath\ttraining\t",
        "p2\tdata/e.npy\tmeg\ttraining\tevents.tsv",
    ]
    create_store(*study(tmp_path, rows, "files.tsv", meg=GROUP, breath=GROUP))
    with Store(tmp_path / "store.hdf5") as store:
        assert store.groups("p2") == ["breath", "meg"]
        assert store.attributes("p2", "meg").n_samples == 64
        assert store.events("p2", "meg").onset.tolist() == [10]
        assert store.events("p2", "breath") is None


def test_subsets_may_be_drawn_and_the_draw_is_noted(tmp_path):
    rows = ["subject,file,site", *(f"p{i},data/{stem}.npy,{'xy'[i % 2]}" for i, stem in enumerate("abcef"))]
    table, target, config = study(tmp_path, rows)
    create_store(table, target, config, draw=Draw(testing=0.4, seed=2, stratify="site"))
    with Store(target) as store:
        testing = store.subset("testing")
        assert len(testing) == 2
        assert {store.covariates(name)["site"] for name in testing} == {"x", "y"}
        assert len(store.subset("training")) == 3
    with h5py.File(target) as file:
        drawn = json.loads(file["subsets"].attrs["drawn"])
    assert drawn == {"validation": 0.0, "testing": 0.4, "seed": 2, "stratify": "site"}


def test_lists_choose_among_the_rows_of_a_table_without_subsets(tmp_path):
    table, target, config = study(tmp_path, ["subject,file", "p1,data/a.npy", "p2,data/b.npy", "p3,data/c.npy"])
    (tmp_path / "list.txt").write_text("p3\np1\n")
    with pytest.warns(DataWarning, match=r"1 of the subjects in .*files\.csv are in no list and were left out: p2"):
        create_store(table, target, config, {"training": tmp_path / "list.txt"})
    with Store(target) as store:
        assert store.subset("training") == ["p3", "p1"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["subjct,file", "p1,data/a.npy"], r"files\.csv has no column 'subject' \(did you mean 'subjct'"),
        (["subject,path", "p1,data/a.npy"], "has no column 'file'"),
        (["subject,file"], "has no row below"),
        (["subject;file", "p1;data/a.npy;"], "not separated by commas, nor by as many semicolons"),
        (["subject,file", "p1,data/a.npy,3"], "Line 2 of .* has 3 values"),
        (["subject,file", "p1,data/x.npy"], r"row 1: file .*x\.npy does not exist"),
        (["subject,file", f"p1,{'x' * 5000}.npy"], "row 1: file .* does not exist"),
        (["subject,file", "p1,"], "row 1: file is not given"),
        (["subject,file", ",data/a.npy"], "row 1: subject is 'n/a'"),
        (["subject,file", "a/b,data/a.npy"], "row 1: subject is 'a/b', but must be a name without '/'"),
        (["subject,file,group", "p1,data/a.npy,sinals"], r"'sinals' is not a group of the config \(did you mean"),
        (["subject,file,subset", "p1,data/a.npy,train"], r"row 1: subset is 'train' \(did you mean 'training'"),
        (["subject,file", "p1,data/a.npy", "p2,data/a.npy"], r"row 2: data/a\.npy stands in an earlier row"),
        (
            ["subject,run,file", "p1,r,data/a.npy", "p1,r,data/b.npy"],
            "row 2: subject p1 has two runs 'r' in group signals",
        ),
        (["subject,file,sex", "p1,data/a.npy,f", "p1,data/b.npy,m"], "row 2: sex of subject p1 is 'm', but 'f'"),
        (["subject,file,events", "p1,data/a.npy,no.tsv"], r"row 1: events .*no\.tsv does not exist"),
        (["subject,file", "p1,data/a.npy"], "Nothing says who trains"),
        (["subject,file,subset", "p1,files.csv.x,training"], r"row 1: file .*files\.csv\.x does not exist"),
    ],
)
def test_faulty_tables_are_one_sentence_and_no_store(tmp_path, rows, sentence):
    table, target, config = study(tmp_path, rows)
    with pytest.raises(DataError, match=sentence):
        create_store(table, target, config)
    assert not target.exists()


def test_one_voice_only_says_who_trains_and_what_is_read(tmp_path):
    table, target, config = study(tmp_path)
    with pytest.raises(DataError, match="Both --draw_subsets and the column 'subset' of .* keep one"):
        create_store(table, target, config, draw=Draw(testing=0.5))
    with pytest.raises(DynmlError, match=r"signals\.files is 'a\.npy', but must be left out where a table"):
        config.write_text(json.dumps({"signals": {**GROUP, "files": "a.npy"}}))
        create_store(table, target, config)
    config.write_text(json.dumps({"signals": GROUP, "participants": {"p1_ses-1": "x", "p1_ses-2": "x", "p2": "y"}}))
    with pytest.raises(DataError, match=r"Both 'participants' of the config and columns of .*files\.csv"):
        create_store(table, target, config)
    with pytest.raises(DynmlError, match=r"Group 'signals' of the config has no 'files'"):
        create_store(tmp_path / "data", target, config, draw=Draw(testing=0.5))


def test_a_participant_in_two_subsets_is_refused(tmp_path):
    rows = [*ROWS]
    rows[2] = rows[2].replace("training", "testing")
    with pytest.raises(DataError, match="Participant p1 is in two subsets"):
        create_store(*study(tmp_path, rows))
    assert not (tmp_path / "store.hdf5").exists()


def test_channels_in_other_orders_are_matched_by_name_when_asked(tmp_path):
    for name, header in {"a": "x,y,z", "b": "x,y,z", "c": "z,x,y"}.items():
        values = noise(50, 3, seed=ord(name))
        np.savetxt(tmp_path / f"{name}.csv", values, delimiter=",", header=header, comments="", fmt="%.8g")
    rows = ["subject,file,subset", *(f"{name},../{name}.csv,training" for name in "abc")]
    (tmp_path / "study").mkdir()
    table, target, config = study(tmp_path / "study", rows)
    with pytest.raises(DataError, match='Subject c, .* order of the channels differs.*"match_channels": true'):
        create_store(table, target, config)
    config.write_text(json.dumps({"signals": {**GROUP, "match_channels": True, "standardization": "none"}}))
    create_store(table, target, config)
    with Store(target) as store:
        assert store.attributes("c", "signals").channel_names == ("x", "y", "z")
        np.testing.assert_allclose(store.read("c", "signals"), noise(50, 3, seed=ord("c"))[:, [1, 2, 0]], rtol=1e-6)
    np.savetxt(tmp_path / "c.csv", noise(50, 2), delimiter=",", header="z,x", comments="")
    with pytest.raises(DataError, match="Subject c, group signals has no channel 'y', which other subjects have"):
        create_store(table, target, config, overwrite=True)
    config.write_text(json.dumps({"signals": GROUP}))
    with pytest.raises(DataError, match="Subject c, .* but 3 in a and 1 more: it lacks y; .exclude_channels"):
        create_store(table, target, config, overwrite=True)
