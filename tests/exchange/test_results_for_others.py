"""What others read of an inferred subject: MNE, SciPy, pandas, and the rules of BIDS."""

import json

import mne
import numpy as np
import pandas
import pytest
from scipy.io import loadmat

from dynml.errors import DataError
from dynml.exchange.results.alpha_files import write_alpha
from dynml.exchange.results.bids_derivative import BidsDerivative, DerivativeModel
from dynml.models.inferred import InferredSubject
from dynml.models.mne_raw import save_fif
from dynml.models.stored_runs import StoredRun
from dynml.recording import Events, Source

MODEL = DerivativeModel(label="hmm3", component="state", description="Probabilities of states.", sha256="0" * 64)


@pytest.fixture
def result():
    """40 rows: runs of 25 and 15, a gap at rows 10 to 13, and a masked row 30."""
    alpha = np.random.default_rng(0).dirichlet([1, 1, 1], size=40).astype(np.float32)
    alpha[10:13] = np.nan
    observed = np.isfinite(alpha[:, 0])
    observed[30] = False
    return InferredSubject(
        subject="sub-07",
        alpha=alpha,
        segments=np.array([[0, 10], [13, 25], [25, 40]]),
        log_likelihood=-1.0,
        n_samples=36,
        sampling_frequency=50.0,
        observed=observed,
    )


def run(start=0, stop=25, file=None, name="run-1", first=0.0, step=1.0):
    source = None if file is None else Source(file=file, n_bytes=1, sha256="ab")
    return StoredRun(
        name=name,
        start=start,
        stop=stop,
        first_source_sample=first,
        source_step=step,
        sampling_frequency=50.0,
        source=source,
    )


def test_what_was_not_observed_is_nan_and_annotated_never_zero(result, tmp_path):
    events = Events(
        onset=np.array([26, 34]),
        duration=np.array([0, 3]),
        labels={"kind": np.array([1, 0])},
        names={"kind": ("face", "house")},
    )
    raw = result.to_mne_raw(run(25, 40, first=200.0, step=2.0), events=events)
    path = save_fif(raw, tmp_path / "sub-07_alpha_raw.fif")
    read = mne.io.read_raw_fif(path, preload=True, verbose="error")
    assert read.first_samp == 100
    assert read.ch_names == ["state-1", "state-2", "state-3", "STI kind"]
    assert read.get_channel_types() == ["misc"] * 3 + ["stim"]
    values = read.get_data(picks=[0, 1, 2]).T
    np.testing.assert_array_equal(np.isnan(values[:, 0]), np.arange(15) == 5)
    np.testing.assert_allclose(values[6:], result.alpha[31:40], rtol=1e-6)
    bad = [(round(one["onset"] - read.first_time, 6), one["duration"]) for one in read.annotations]
    assert bad == [(pytest.approx(0.1), pytest.approx(0.02))]
    assert read.annotations.description.tolist() == ["BAD_unobserved"]
    found = mne.find_events(read, stim_channel="STI kind", min_duration=0, shortest_event=1, verbose="error")
    assert found[:, [0, 2]].tolist() == [[101, 2], [109, 1]]
    assert json.loads(read.info["description"]) == {"STI kind": {"face": 1, "house": 2}}
    assert not list(tmp_path.glob(".partial*"))


def test_visits_become_annotations_within_segments(result):
    raw = result.to_mne_raw(visits=True)
    found, names = mne.events_from_annotations(raw, regexp="state", verbose="error")
    states = np.nan_to_num(result.alpha, nan=-1).argmax(axis=1)
    borders = [0, 13, 25, 31]  # also after the masked row
    seen = result.observed
    expected = [row for row in range(40) if seen[row] and (row in borders or states[row] != states[row - 1])]
    assert found[:, 0].tolist() == expected
    numbers = {value: int(name.split("-")[1]) - 1 for name, value in names.items()}
    assert [numbers[value] for value in found[:, 2]] == states[expected].tolist()
    bad = [one for one in raw.annotations if one["description"] == "BAD_unobserved"]
    assert [round(one["onset"] * 50) for one in bad] == [10, 30]


def test_tables_and_mat_files_read_back(result, tmp_path):
    table = pandas.read_csv(write_alpha(result, tmp_path, "tsv", "state"), sep="\t", na_values="n/a")
    assert list(table) == ["state-1", "state-2", "state-3"]
    np.testing.assert_allclose(table.to_numpy(), result.alpha, rtol=1e-5)
    content = loadmat(write_alpha(result, tmp_path, "mat", "state"))
    np.testing.assert_array_equal(content["alpha"], result.alpha)
    assert content["segments"].tolist() == result.segments.tolist()


def test_a_derivative_keeps_the_entities_of_its_sources(result, tmp_path):
    derivative = BidsDerivative(tmp_path, MODEL)
    first = "sub-07/ses-2/func/sub-07_ses-2_task-rest_run-1_space-MNI_desc-preproc_bold.nii.gz"
    derivative.add(result, [run(file=first), run(25, 40, file=first.replace("run-1", "run-2"), first=100.0)])
    (tmp_path / "state_statistics.tsv").write_text("subject\n")
    derivative.finish([tmp_path / "state_statistics.tsv", tmp_path / "absent.tsv"])
    folder = tmp_path / "sub-07" / "ses-2" / "func"
    stems = [f"sub-07_ses-2_task-rest_run-{number}_space-MNI_desc-hmm3_timeseries" for number in (1, 2)]
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{stem}.{ending}" for stem in stems for ending in ("json", "tsv")
    ]
    table = pandas.read_csv(folder / f"{stems[1]}.tsv", sep="\t", na_values="n/a", keep_default_na=False)
    assert table["state-1"].isna().tolist() == [row == 5 for row in range(15)]
    sidecar = json.loads((folder / f"{stems[1]}.json").read_text())
    assert sidecar["SamplingFrequency"] == 50
    assert sidecar["StartTime"] == 2
    assert sidecar["Sources"] == [first.replace("run-1", "run-2")]
    assert sidecar["state-3"]["Units"] == "1"
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "dynml"
    assert "*_timeseries.*" in (tmp_path / ".bidsignore").read_text()
    assert (tmp_path / "desc-hmm3_statestatistics.tsv").exists()


def test_other_names_become_entities_and_none_is_written_twice(result, tmp_path):
    derivative = BidsDerivative(tmp_path, MODEL)
    derivative.add(result, [run(file="meg.fif"), run(25, 40, name="run-2", file="rest.fif")])
    assert {path.name for path in (tmp_path / "sub-07" / "meg").glob("*.tsv")} == {
        "sub-07_run-1_desc-hmm3_timeseries.tsv",
        "sub-07_run-2_desc-hmm3_timeseries.tsv",
    }
    with pytest.raises(DataError, match="same BIDS entities"):
        derivative.add(result, [run(file="meg.fif"), run(25, 40, name="run-2", file="rest.fif")])
    arrays = InferredSubject(**{**result.__dict__, "subject": "patient 3"})
    derivative.add(arrays, [run()])
    assert (tmp_path / "sub-patient3" / "sub-patient3_desc-hmm3_timeseries.tsv").exists()
