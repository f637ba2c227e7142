"""A second group lies beside the signals by time, against a search for the samples of each row one by one."""

import dataclasses

import numpy as np
import pytest
from conditioned_data import RATE, driven_store, study_of
from store_making import noise

from dynml import DatasetConfig, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, DataWarning

BY_STIMULUS = DatasetConfig(conditioning_group="stimulus")
CASES = [(100.0, 0), (100.0, 1), (100.0, -3), (40.0, 0), (333.0, 0), (7.0, 2), (200.0, 0), (50.0, 1)]


def made(folder, rate, **settings):
    """Two runs of signals with a gap, and of a second group that begins with them, has a gap, and ends too early."""
    runs, beside = [noise(300, 3, 1), noise(200, 3, 2)], []
    runs[0][90:120] = np.nan
    for number, run in enumerate(runs):
        signals = noise(int(len(run) * 0.9 * rate / RATE), 2, 10 + number)
        signals[len(signals) // 3 : len(signals) // 2] = np.nan
        beside.append(signals)
    gaps = {"missing": "segment"} | settings
    study = study_of(folder, {"sub-a": runs}, {"sub-a": beside}, rate=rate, of_signals={"missing": "segment"}, **gaps)
    study.create()
    return study.target, runs, beside


def searched(signals, beside, rate, lead):
    """Value beside each row, and whether there is one: the samples of (t - 1 / RATE, t], or the last one before."""
    tiny = 1e-9
    times = np.arange(len(beside)) / rate
    known = np.isfinite(beside[:, 0])
    values, is_there = np.zeros((len(signals), beside.shape[1])), np.zeros(len(signals), dtype=bool)
    for row in range(len(signals)):
        t = (row + lead) / RATE
        own = np.flatnonzero((times > t - 1 / RATE + tiny) & (times <= t + tiny))
        if not len(own):
            before = np.flatnonzero(times <= t + tiny)[-1:]
            own = before[times[before] > t - 1 / rate + tiny]
        own = own[known[own]]
        if len(own):
            values[row], is_there[row] = beside[own].mean(axis=0), True
    return values, is_there


@pytest.mark.parametrize("missing", ["segment", "mask"])
@pytest.mark.parametrize(("rate", "lead"), CASES)
def test_each_row_has_what_was_measured_since_the_row_before(tmp_path, rate, lead, missing):
    path, runs, beside = made(tmp_path, rate, missing=missing)
    with pytest.warns(DataWarning, match="stimulus:observed: sub-a"):
        dataset = MultiSubjectDataset(
            path, group="signals", config=dataclasses.replace(BY_STIMULUS, conditioning_lead=lead)
        )
    dataset.load_data()
    stimulus = [f"stimulus:{name}" for name in ("channel_0", "channel_1", "observed")]
    assert dataset.channel_names == ("channel_0", "channel_1", "channel_2", *stimulus)
    assert (dataset.n_channels, dataset.n_conditioning) == (6, 3)
    rows = dataset.training_set.read(0, 0, 500).numpy()
    expected, known = (
        np.concatenate(parts) for parts in zip(*(searched(*pair, rate, lead) for pair in zip(runs, beside)))
    )
    segments = dataset.signal_source.segments("sub-a", "signals")
    assert len(segments) == 3
    for start, stop in segments.tolist():
        np.testing.assert_array_equal(rows[start:stop, 5], known[start:stop])
        np.testing.assert_allclose(rows[start:stop, 3:5], expected[start:stop], rtol=1e-6)
        np.testing.assert_array_equal(rows[start:stop, :3], np.concatenate(runs)[start:stop])
    assert 0.3 < known.mean() < 0.9


@pytest.mark.parametrize("rate", [40.0, 333.0])
def test_rows_are_the_same_wherever_they_live_and_whatever_is_read_with_them(tmp_path, rate):
    path, *_ = made(tmp_path, rate)
    datasets = []
    for residency in ("memory", "lazy"):
        with pytest.warns(DataWarning):
            datasets.append(MultiSubjectDataset(path, residency, group="signals", config=BY_STIMULUS))
        datasets[-1].load_data()
    whole, lazy = (dataset.training_set for dataset in datasets)
    for start, stop in ((0, 90), (31, 64), (120, 300), (299, 300), (310, 500)):
        assert whole.read(0, start, stop).equal(lazy.read(0, start, stop))


def test_where_nothing_is_missing_nothing_is_marked(tmp_path):
    dataset = MultiSubjectDataset(driven_store(tmp_path), group="signals", config=BY_STIMULUS)
    assert dataset.conditioning_names == ("stimulus:channel_0",)
    assert dataset.conditioning.marks_missing is False
    described = dataset.describe()["conditioning"]
    assert (described["group"], described["lead"], described["preparation"]["of"]) == ("stimulus", 0, "store")
    plain = MultiSubjectDataset(dataset.signal_source.path, group="signals")
    assert "conditioning" not in plain.describe()
    assert "conditioning_group" not in plain.describe()["config"]
    later = dataclasses.replace(BY_STIMULUS, conditioning_lead=1)
    with pytest.warns(DataWarning, match=": 1"):
        moved = MultiSubjectDataset(dataset.signal_source.path, group="signals", config=later)
    assert len({one.fingerprint for one in (dataset, plain, moved)}) == 3


def test_runs_belong_together_by_their_names_or_by_their_order(tmp_path):
    runs, beside = {"sub-a": [noise(50), noise(60)]}, {"sub-a": [noise(60, 1)]}
    study = study_of(tmp_path, runs, beside)
    study.create()
    with pytest.raises(DataError, match=r"group signals has 2 runs \(run-0, run-1\) and group stimulus 1 \(beside-0\)"):
        MultiSubjectDataset(study.target, group="signals", config=BY_STIMULUS)
    np.savetxt(study.ready / "sub-a" / "run-1.txt", beside["sub-a"][0])
    study.config["stimulus"]["files"] = ["run-*.txt"]
    study.create(overwrite=True)
    with pytest.warns(DataWarning, match="sub-a: 50"):
        dataset = MultiSubjectDataset(study.target, group="signals", config=BY_STIMULUS)
    dataset.load_data()
    np.testing.assert_allclose(dataset.training_set.read(0, 50, 110)[:, 4:5], beside["sub-a"][0], rtol=1e-6)


def test_a_group_that_cannot_be_laid_beside_is_refused(tmp_path):
    path = driven_store(tmp_path)

    def opened(**settings):
        return MultiSubjectDataset(path, group="signals", config=DatasetConfig(**settings))

    with pytest.raises(DataError, match=r"subject sub-0 has no group 'stim' .*\(its groups: signals, stimulus\)"):
        opened(conditioning_group="stim")
    with pytest.raises(ConfigurationError, match="another group than the one that the model learns from"):
        opened(conditioning_group="signals")
    with pytest.raises(DataError, match="stimulus has no sample at the time of any sample of group signals"):
        opened(conditioning_group="stimulus", conditioning_lead=10_000)
    with pytest.raises(ConfigurationError, match="absent where dataset.n_embeddings or dataset.n_components"):
        opened(conditioning_group="stimulus", n_components=2)
    with pytest.raises(ConfigurationError, match="0 unless dataset.conditioning_group names a group"):
        opened(conditioning_lead=1)
    with pytest.raises(DataError, match="arrays: subject training-0 has no group"):
        MultiSubjectDataset.from_arrays([noise(50)], config=BY_STIMULUS)
