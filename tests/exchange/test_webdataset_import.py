import json
import os
import pickle

import numpy as np
import pytest
from tar_making import bold, encoded, write_members, write_run, write_trials

from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.exchange.webdataset import parse_run_name, read_tar
from dynml.exchange.webdataset_import import TarImport, import_webdataset
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store


def made(folder, *inputs, **settings):
    """A store of tars, verified."""
    target = folder / "store.hdf5"
    import_webdataset(TarImport(inputs=list(inputs) or [folder], **settings), target, overwrite=True)
    assert faults_of_store(target) == []
    return Store(target)


def refused(folder, match, **settings):
    """The import fails with one sentence, and leaves the folder as it was."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(DataError, match=match) as error:
        import_webdataset(TarImport(inputs=[folder], **settings), folder / "store.hdf5", overwrite=True)
    assert sorted(folder.rglob("*")) == before
    assert str(error.value).endswith(".")
    return str(error.value)


def rest(folder, name, **settings):
    return write_run(folder / f"{name}_task-rest.tar", **settings)


class TestUpstream:
    def test_runs_of_a_participant_stand_one_after_another_as_they_are(self, tmp_path):
        second = write_run(tmp_path / "b" / "ds-x_sub-01_task-rest_run-10.tar", 30, seed=2)
        first = write_run(tmp_path / "a" / "ds-x_sub-01_task-rest_run-2.tar.gz", 50, seed=1, protocol=5)
        other = write_run(tmp_path / "ds-x_sub-02_task-rest_run-2.tar", 20, seed=3, protocol=2)
        store = made(tmp_path)
        assert store.subset("training") == ["ds-x_sub-01", "ds-x_sub-02"]
        np.testing.assert_array_equal(store.read("ds-x_sub-01", "bold"), np.concatenate([first, second]))
        np.testing.assert_array_equal(store.read("ds-x_sub-02", "bold"), other)
        assert store.run_names("ds-x_sub-01", "bold") == ["task-rest_run-2", "task-rest_run-10"]
        assert store.segments("ds-x_sub-01", "bold").tolist() == [[0, 50], [50, 80]]
        assert store.events("ds-x_sub-01", "bold") is None
        described = store.attributes("ds-x_sub-01", "bold")
        assert described.sampling_frequency == 1 / 0.72
        assert described.channel_names == tuple(f"network_{number}" for number in range(5))
        tar = (tmp_path / "a" / "ds-x_sub-01_task-rest_run-2.tar.gz").read_bytes()
        assert (described.sources[0].file, described.sources[0].n_bytes) == (
            "ds-x_sub-01_task-rest_run-2.tar.gz",
            len(tar),
        )
        assert (store.mean("ds-x_sub-01", "bold") == 0).all()
        assert (store.std("ds-x_sub-01", "bold") == 1).all()

    def test_the_same_id_in_two_data_sets_is_two_participants(self, tmp_path):
        for number, name in enumerate(["ds-x_sub-1", "ds-x_sub-10", "ds-y_y_sub-1", "ds-x_sub-1_ses-b"]):
            rest(tmp_path, name, seed=number)
        store = made(tmp_path)
        people = {subject: store.participant(subject) for subject in store.subjects}
        assert people == {
            "ds-x_sub-1": "ds-x_sub-1",
            "ds-x_sub-1_ses-b": "ds-x_sub-1",
            "ds-x_sub-10": "ds-x_sub-10",
            "ds-y_y_sub-1": "ds-y_y_sub-1",
        }
        assert store.covariates("ds-y_y_sub-1") == {"dataset": "y_y"}
        assert store.covariates("ds-x_sub-1_ses-b") == {"dataset": "x", "session": "b"}

    def test_runs_are_standardized_on_request(self, tmp_path):
        signals = 3 * bold(40) + 7
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded({"a": (signals, {})}))
        store = made(tmp_path, standardization="per_run", group="networks")
        expected = (signals - signals.mean(0, dtype=np.float64)) / signals.std(0, dtype=np.float64)
        np.testing.assert_allclose(store.read("ds-x_sub-1", "networks"), expected, atol=1e-6)
        np.testing.assert_allclose(store.mean("ds-x_sub-1", "networks"), [[7] * 5], atol=1e-6)

    def test_any_kind_of_numbers_is_read(self, tmp_path):
        signals = bold(30) * 100
        for number, dtype in enumerate(["f2", ">f4", "f8", "i2"]):
            name = f"ds-x_sub-{number}_task-a"
            array = (signals + number).astype(dtype)
            write_members(tmp_path / f"{name}.tar", encoded({name: (array, {})}, np.float64(2)))
        store = made(tmp_path)
        for number, dtype in enumerate(["f2", ">f4", "f8", "i2"]):
            expected = (signals + number).astype(dtype).astype(np.float32)
            np.testing.assert_array_equal(store.read(f"ds-x_sub-{number}", "bold"), expected)
        assert store.attributes("ds-x_sub-0", "bold").sampling_frequency == 0.5


class TestRates:
    def test_a_difference_is_refused_and_both_are_named(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1", seed=1)
        rest(tmp_path, "ds-x_sub-2", seed=2)
        rest(tmp_path, "ds-y_sub-1", seed=3, repetition_time=2.0)
        text = refused(tmp_path, "ds-y_sub-1.*2 s of repetition time, but .*ds-x_sub-1.* 0.72")
        assert "--allow_mixed_sampling_frequency" in text

    def test_data_sets_may_differ_when_it_is_said(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1", seed=1)
        rest(tmp_path, "ds-y_sub-1", seed=3, repetition_time=2.0)
        store = made(tmp_path, allow_mixed_sampling_frequency=True)
        rates = [store.attributes(subject, "bold").sampling_frequency for subject in store.subjects]
        assert rates == [1 / 0.72, 0.5]
        assert store.config["allow_mixed_sampling_frequency"] is True

    def test_rates_of_one_participant_are_subjects_of_one_participant(self, tmp_path):
        write_run(tmp_path / "ds-x_sub-1_task-a.tar", 20, seed=1)
        write_run(tmp_path / "ds-x_sub-1_task-b.tar", 25, seed=2, repetition_time=np.float32(2.4))
        write_run(tmp_path / "ds-x_sub-1_task-c.tar", 30, seed=3, repetition_time=0.72)
        store = made(tmp_path, allow_mixed_sampling_frequency=True)
        assert store.subjects == ["ds-x_sub-1_tr-0.72", "ds-x_sub-1_tr-2.4"]
        assert {store.participant(subject) for subject in store.subjects} == {"ds-x_sub-1"}
        assert store.run_names("ds-x_sub-1_tr-0.72", "bold") == ["task-a", "task-c"]


class TestTrials:
    def test_each_sample_is_a_segment_and_an_event(self, tmp_path):
        labels = [{"task_label": 3, "task_name": "MOTOR"}, {"task_label": 12, "task_name": "rest"}, {"task_label": 3}]
        first = write_trials(tmp_path / "ds-hcp_sub-1_task-m_run-1.tar", labels, seed=1)
        second = write_trials(tmp_path / "ds-hcp_sub-1_task-m_run-2.tar", [{}, {"task_label": np.int64(0)}], seed=2)
        store = made(tmp_path)
        np.testing.assert_array_equal(store.read("ds-hcp_sub-1", "bold"), np.concatenate([*first, *second]))
        assert store.segments("ds-hcp_sub-1", "bold").tolist() == [[0, 6], [6, 13], [13, 21], [21, 27], [27, 34]]
        assert store.segment_runs("ds-hcp_sub-1", "bold").tolist() == [0, 0, 0, 1, 1]
        events = store.events("ds-hcp_sub-1", "bold")
        assert events.onset.tolist() == [0, 6, 13, 27]
        assert events.duration.tolist() == [6, 7, 8, 7]
        assert events.names == {"task_label": ("0", "3", "12"), "task_name": ("MOTOR", "rest")}
        assert events.labels["task_label"].tolist() == [1, 2, 1, 0]
        assert events.labels["task_name"].tolist() == [0, 1, -1, -1]

    def test_samples_stand_in_natural_order_of_their_keys(self, tmp_path):
        trials = {f"a_sample_{number}": (bold(4 + number, seed=number), {"y": number}) for number in (10, 9, 100)}
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded(trials))
        events = made(tmp_path).events("ds-x_sub-1", "bold")
        assert [events.names["y"][code] for code in events.labels["y"]] == ["9", "10", "100"]
        assert events.duration.tolist() == [13, 14, 104]

    @pytest.mark.parametrize("names", [["rest", "hand", "foot"], {"0": "rest", "1": "hand", "2": "foot"}])
    def test_codes_get_names(self, tmp_path, names):
        write_trials(tmp_path / "ds-x_sub-1_task-a.tar", [{"task_label": 2}, {"task_label": 0}, {"other": 2}])
        path = tmp_path / "names.json"
        path.write_text(json.dumps({"task_label": names}))
        events = made(tmp_path, target_names=path).events("ds-x_sub-1", "bold")
        assert [events.names["task_label"][code] for code in events.labels["task_label"][:2]] == ["foot", "rest"]
        assert events.names["other"] == ("2",)

    def test_names_that_do_not_fit_are_refused(self, tmp_path):
        write_trials(tmp_path / "ds-x_sub-1_task-a.tar", [{"task_label": 2}, {"task_label": 0}])
        path = tmp_path / "names.json"
        path.write_text(json.dumps({"task_lable": ["rest"]}))
        refused(tmp_path, "labels of 'task_lable', which no tar has .did you mean 'task_label'", target_names=path)
        path.write_text(json.dumps({"task_label": ["rest", "hand"]}))
        refused(tmp_path, "no name for the label '2' of 'task_label', which .*task-a.tar holds", target_names=path)
        path.write_text(json.dumps(["rest"]))
        refused(tmp_path, "must map columns to the names", target_names=path)

    def test_samples_of_one_time_point_are_left_out_and_told(self, tmp_path):
        trials = {"a_0": (bold(9), {"y": 1}), "a_1": (bold(9)[:1], {"y": 0}), "a_2": (bold(8, seed=1), {"y": 2})}
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded(trials))
        with pytest.warns(DataWarning, match="single time point were left out: ds-x_sub-1_task-a.tar: 1"):
            store = made(tmp_path)
        assert store.segments("ds-x_sub-1", "bold").tolist() == [[0, 9], [10, 18]]
        assert store.events("ds-x_sub-1", "bold").names == {"y": ("1", "2")}

    def test_kinds_that_are_not_known_are_left_out_and_told(self, tmp_path):
        members = encoded({"a": (bold(20), {"y": 1})}) | {"a.meta.json": b"{}", "README": b"x", "a.npy": b"1"}
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", members)
        with pytest.warns(DataWarning, match="not known were not read: ds-x_sub-1_task-a.tar: README, meta.json, npy"):
            assert set(made(tmp_path).events("ds-x_sub-1", "bold").labels) == {"y"}


class TestMembers:
    def test_keys_may_hold_dots_and_lie_in_folders(self, tmp_path):
        trials = {f"./more/a_fwhm-2.5_sample_{number}": (bold(9, seed=number), {"y": number}) for number in (10, 2)}
        write_members(
            tmp_path / "ds-x_sub-1_task-a.tar", encoded(trials) | {"more/a_fwhm-2.5_sample_2.z": "müde".encode()}
        )
        store = made(tmp_path)
        assert store.events("ds-x_sub-1", "bold").names == {"y": ("2", "10"), "z": ("müde",)}
        np.testing.assert_array_equal(store.read("ds-x_sub-1", "bold", 0, 9), bold(9, seed=2))

    def test_what_macos_adds_is_left_out_without_a_word(self, tmp_path, recwarn):
        members = encoded({"a": (bold(20), {"y": 1})})
        added = {"._a.bold.pyd": b"\0\5\x16\7", "__MACOSX/._a.t_r.pyd": b"\0\5\x16\7", ".DS_Store": b"\0"}
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", added | members)
        assert set(made(tmp_path).events("ds-x_sub-1", "bold").labels) == {"y"}
        assert not recwarn

    def test_runs_that_look_transposed_are_told(self, tmp_path):
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded({"a": (bold(60).T.copy(), {})}))
        with pytest.warns(DataWarning, match="fewer time points than networks, .*: ds-x_sub-1_task-a.tar: 5 x 60"):
            made(tmp_path)

    def test_labels_in_latin_1_are_read_and_told(self, tmp_path):
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded({"a": (bold(9), {})}) | {"a.y": b"m\xfcde"})
        with pytest.warns(DataWarning, match=r"ds-x_sub-1_task-a\.tar, a\.y\.$"):
            assert made(tmp_path).events("ds-x_sub-1", "bold").names == {"y": ("müde",)}


class TestSubsets:
    def test_lists_name_participants_or_subjects(self, tmp_path):
        names = ["ds-x_sub-1_ses-a", "ds-x_sub-1_ses-b", "ds-x_sub-2", "ds-x_sub-3", "ds-x_sub-4"]
        for number, name in enumerate(names):
            rest(tmp_path, name, seed=number)
        lists = {subset: tmp_path / f"{subset}.txt" for subset in ("training", "testing")}
        lists["training"].write_text("ds-x_sub-1\n")
        lists["testing"].write_text("ds-x_sub-3\nds-x_sub-2\n")
        with pytest.warns(DataWarning, match="no list names were left out: ds-x_sub-4"):
            store = made(tmp_path, lists=lists)
        assert store.subset("training") == ["ds-x_sub-1_ses-a", "ds-x_sub-1_ses-b"]
        assert store.subset("validation") == []
        assert store.subset("testing") == ["ds-x_sub-3", "ds-x_sub-2"]
        lists["testing"].write_text("ds-x_sub-1_ses-b\n")
        refused(tmp_path, "ds-x_sub-1 is in two lists, for training and for testing", lists=lists)
        lists["testing"].write_text("ds-x_sub-33\n")
        refused(tmp_path, "'ds-x_sub-33', of which there is no tar .did you mean 'ds-x_sub-3'", lists=lists)
        lists["training"].write_text("ds-x_sub-1\nds-x_sub-1_ses-b\n")
        refused(tmp_path, "names subject ds-x_sub-1_ses-b twice", lists=lists)

    def test_participants_are_drawn_whole_and_from_each_data_set(self, tmp_path):
        for dataset, n_people in (("x", 12), ("y", 8)):
            for person in range(n_people):
                for session in "ab"[: 1 + person % 2]:
                    seed = ord(dataset) * 1000 + 10 * person + ord(session)
                    rest(tmp_path, f"ds-{dataset}_sub-{person}_ses-{session}", seed=seed, n_samples=12)
        settings = {"validation_fraction": 0.25, "testing_fraction": 0.25, "seed": 3}
        store = made(tmp_path, **settings)
        people = {
            name: {store.participant(subject) for subject in store.subset(name)}
            for name in ("training", "validation", "testing")
        }
        assert [len(people[name]) for name in people] == [10, 5, 5]
        assert len(set.union(*people.values())) == 20
        for name in ("validation", "testing"):
            of_x = sum(person.startswith("ds-x") for person in people[name])
            assert of_x == 3, "three of twelve and two of eight are a quarter"
        again = made(tmp_path, **settings)
        assert again.subset("testing") == store.subset("testing")
        assert made(tmp_path, **{**settings, "seed": 4}).subset("testing") != store.subset("testing")

    def test_fractions_that_leave_nobody_are_refused(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1")
        refused(tmp_path, "of 1 participants, of whom none would be left", testing_fraction=0.1)
        with pytest.raises(ConfigurationError, match="validation_fraction"):
            TarImport(inputs=[], lists={"training": tmp_path}, validation_fraction=0.1)
        with pytest.raises(ConfigurationError, match="below 1"):
            TarImport(inputs=[], validation_fraction=0.5, testing_fraction=0.5)


class Harm:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


class TestFaults:
    @pytest.mark.parametrize("kind", ["bold", "t_r", "task_label"])
    def test_a_malicious_tar_is_refused_and_nothing_executed(self, tmp_path, kind):
        (tmp_path / "tars").mkdir()
        members = encoded({"a": (bold(20), {"task_label": 1})})
        members[f"a.{kind}.pyd"] = pickle.dumps(Harm(tmp_path / "harm"))
        write_members(tmp_path / "tars" / "ds-x_sub-1_task-a.tar", members)
        refused(
            tmp_path / "tars", f"task-a.tar, a.{kind}.pyd was refused and nothing of it executed: it asks for 'posix"
        )
        assert not (tmp_path / "harm").exists()

    @pytest.mark.parametrize("name", ["ds-x_sub-2_task-a.tar", "ds-x_sub-2_task-a.tar.gz"])
    def test_a_truncated_tar_is_refused_wherever_it_was_cut(self, tmp_path, name):
        rest(tmp_path, "ds-x_sub-1")
        path = tmp_path / name
        write_trials(path, [{"y": 1}, {"y": 2}])
        content = path.read_bytes()
        # A tar is filled up with zeros: what counts ends with the last member, on a full block.
        needed = len(content) if name.endswith("gz") else -(-len(content.rstrip(b"\0")) // 512) * 512
        for size in (1, 100, 511, 512, 700, 1024, 1536, 2048, needed // 2, needed - 512, needed - 100, needed):
            if size < len(content):
                path.write_bytes(content[:size])
                refused(tmp_path, f"{name} is truncated or damaged, or no tar file")

    def test_a_damaged_header_is_no_end(self, tmp_path):
        path = tmp_path / "ds-x_sub-2_task-a.tar"
        write_trials(path, [{"y": 1}, {"y": 2}])
        content = bytearray(path.read_bytes())
        second = content.index(b"_sample_001.bold")
        content[second + 3] ^= 255
        path.write_bytes(content)
        refused(tmp_path, "truncated or damaged")

    def test_other_files_are_told_apart(self, tmp_path):
        path = tmp_path / "ds-x_sub-1_task-a.tar"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        refused(tmp_path, "pointer of Git LFS")
        path.write_bytes(b"")
        refused(tmp_path, "truncated or damaged")
        path.unlink()
        refused(tmp_path, "hold no file that ends in .tar")
        with pytest.raises(DataError, match="nowhere.tar does not exist"):
            import_webdataset(TarImport(inputs=[tmp_path / "nowhere.tar"]), tmp_path / "s.hdf5")

    def test_samples_without_signals_or_repetition_time_are_named(self, tmp_path):
        path = tmp_path / "ds-x_sub-1_task-a.tar"
        for kind in ("bold", "t_r"):
            members = encoded({"a_0": (bold(20), {}), "a_1": (bold(9), {})})
            del members[f"a_1.{kind}.pyd"]
            write_members(path, members)
            refused(tmp_path, f"task-a.tar: sample a_1 has no member a_1.{kind}.pyd")
        write_members(path, {})
        refused(tmp_path, "holds no member named <key>.bold.pyd")

    @pytest.mark.parametrize(
        ("signals", "words"),
        [
            (np.where(np.arange(100).reshape(20, 5) == 38, np.nan, bold(20)), "is nan at sample 7 of network 3"),
            (np.where(np.arange(100).reshape(20, 5) == 1, 1e39, 1.0), r"is 1e\+39 at sample 0 of network 1"),
            (bold(20)[0], r"an array \(5,\) of float32, but must be an array of numbers, time x networks"),
            (bold(20)[:0], r"is empty: its shape is \(0, 5\)"),
            (bold(20).astype("U3"), "of <U3, but must be"),
            (3.5, "is 3.5, but must be an array"),
            (bold(20)[:1], "no sample of at least two time points"),
            (bold(20) * np.array([1, 1, 0, 1, 1], dtype="f4"), "channel network_2 is constant"),
        ],
        ids=["nan", "inf", "one_axis", "empty", "text", "number", "one_sample", "constant"],
    )
    def test_signals_that_cannot_be_used_are_named(self, tmp_path, signals, words):
        rest(tmp_path, "ds-x_sub-1")
        write_members(tmp_path / "ds-x_sub-2_task-a.tar", encoded({"a": (signals, {})}))
        refused(tmp_path, words)

    @pytest.mark.parametrize("value", [0, -2.0, np.float32(np.nan), np.inf, "2", True, np.ones(2)])
    def test_repetition_times_that_cannot_be_used_are_named(self, tmp_path, value):
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", encoded({"a": (bold(20), {})}, value))
        refused(tmp_path, "a.t_r.pyd is .*, but must be the seconds between two samples, above 0")

    @pytest.mark.parametrize(("value", "found"), [(2000, "milliseconds, .* 2 s"), (7.2e5, "microseconds, .* 0.72 s")])
    def test_repetition_times_in_other_units_are_refused(self, tmp_path, value, found):
        rest(tmp_path, "ds-x_sub-1", repetition_time=value)
        refused(tmp_path, rf"ds-x_sub-1_task-rest.tar has a repetition time of {value:g}, .* looks like {found}")

    def test_repetition_times_that_are_long_are_told(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1", repetition_time=40.0)
        with pytest.warns(DataWarning, match="longer than those of most series: ds-x_sub-1_task-rest.tar: 40 s"):
            made(tmp_path)

    def test_numbers_of_networks_must_agree(self, tmp_path):
        for number, n_networks in enumerate([5, 5, 6]):
            rest(tmp_path, f"ds-x_sub-{number}", n_networks=n_networks, seed=number)
        refused(tmp_path, "sub-2_task-rest.tar has 6 networks, but .*sub-0_task-rest.tar has 5")
        trials = {"a_0": (bold(9), {}), "a_1": (bold(9, 7), {})}
        write_members(tmp_path / "ds-x_sub-3_task-a.tar", encoded(trials))
        refused(tmp_path, "sample a_1 has 7 networks, but a_0 has 5")

    def test_rates_within_a_tar_must_agree(self, tmp_path):
        members = encoded({"a_0": (bold(9), {}), "a_1": (bold(9, seed=1), {})})
        members["a_1.t_r.pyd"] = pickle.dumps(2.0)
        write_members(tmp_path / "ds-x_sub-3_task-a.tar", members)
        refused(tmp_path, "repetition time of sample a_1 is 2 s, but that of a_0 0.72 s")

    def test_duplicates_are_named(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1")
        rest(tmp_path, "ds-x_sub-2")
        refused(tmp_path, "sub-2_task-rest.tar holds the same signals as .*sub-1_task-rest.tar")
        (tmp_path / "ds-x_sub-2_task-rest.tar").unlink()
        rest(tmp_path / "more", "ds-x_sub-1", seed=1)
        refused(tmp_path, "have the same name")
        path = tmp_path / "ds-x_sub-1_task-rest.tar"
        with pytest.raises(DataError, match="sub-1_task-rest.tar is named twice"):
            import_webdataset(TarImport(inputs=[path, path]), tmp_path / "store.hdf5")

    def test_a_member_that_stands_twice_is_named(self, tmp_path):
        members = encoded({"a": (bold(9), {})})
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", members | {"a.bold": b"text"})
        refused(tmp_path, "sample a has two members for 'bold'")

    def test_members_of_one_name_are_refused_whatever_leads_to_them(self, tmp_path):
        members = encoded({"a": (bold(9), {})})
        write_members(tmp_path / "ds-x_sub-1_task-a.tar", members | {"./a.bold.pyd": members["a.bold.pyd"]})
        refused(tmp_path, "the member a.bold.pyd is repeated")

    def test_links_are_refused(self, tmp_path):
        import tarfile

        path = tmp_path / "ds-x_sub-1_task-a.tar"
        with tarfile.open(path, "w") as tar:
            link = tarfile.TarInfo("a.bold.pyd")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        refused(tmp_path, "a.bold.pyd is a link or device")

    @pytest.mark.parametrize("name", ["sub-1_task-a", "ds-x_task-a", "ds-x_subject-1", "ds-x_sub-1_sub-2", "ds-x_sub-"])
    def test_names_must_say_data_set_and_participant(self, tmp_path, name):
        write_run(tmp_path / f"{name}.tar")
        refused(tmp_path, f"{name}.tar: the name must say data set and participant")

    def test_an_old_store_stays_when_an_import_fails(self, tmp_path):
        rest(tmp_path, "ds-x_sub-1")
        before = made(tmp_path).fingerprint("bold", ["ds-x_sub-1"])
        members = encoded({"a": (bold(20), {})})
        write_members(tmp_path / "ds-x_sub-2_task-a.tar", {name: members[name][:-3] for name in members})
        with pytest.raises(DataError, match="damaged"):
            made(tmp_path)
        with Store(tmp_path / "store.hdf5") as store:
            assert store.fingerprint("bold", ["ds-x_sub-1"]) == before
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_name_is_taken_apart():
    from pathlib import Path

    name = parse_run_name(Path("ds-hcp_1200_sub-100307_ses-task_task-GAMBLING_run-1_desc-preproc.tar"))
    assert (name.dataset, name.participant, name.session) == ("hcp_1200", "ds-hcp_1200_sub-100307", "ses-task")
    assert name.run == "ses-task_task-GAMBLING_run-1_desc-preproc"
    assert parse_run_name(Path("ds-x_sub-1.tar")).run == "ds-x_sub-1"


def test_a_tar_in_python_has_what_was_written(tmp_path):
    signals = write_run(tmp_path / "ds-x_sub-1_task-a.tar", 33)
    run, unknown = read_tar(tmp_path / "ds-x_sub-1_task-a.tar")
    np.testing.assert_array_equal(run.samples[0].signals, signals)
    assert (run.repetition_time, run.n_channels, unknown) == (0.72, 5, [])
