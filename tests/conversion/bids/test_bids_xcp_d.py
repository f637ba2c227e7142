"""From a root of XCP-D's derivatives to a store."""

import numpy as np
import pytest
from bids_making import N_VOLUMES, PARCELS, series, write_series, xcp_d

from dynml.errors import ConfigurationError, DataError, DataWarning

CENSORED = [0, 11, 12, 30]


def test_parcels_names_and_repetition_time(tmp_path):
    store = xcp_d(tmp_path).create()
    description = store.attributes("sub-02", "bold")
    assert description.channel_names == PARCELS
    assert description.sampling_frequency == 1.25
    assert store.run_names("sub-02", "bold") == ["task-rest"]
    np.testing.assert_allclose(store.read("sub-02", "bold"), series(1), rtol=1e-6)


@pytest.mark.parametrize("removed", [False, True], ids=["interpolated", "removed"])
def test_censored_volumes_are_gaps_in_their_place(tmp_path, removed):
    study = xcp_d(tmp_path, CENSORED, removed)
    with pytest.warns(DataWarning, match="Censored volumes were cut out: .*: 4 of 40"):
        store = study.create()
    assert store.segments("sub-01", "bold").tolist() == [[1, 11], [13, 30], [31, 40]]
    assert store.source_samples("sub-01", "bold")[:, 0].tolist() == [1, 13, 31]
    found = store.read("sub-01", "bold")
    kept = np.setdiff1d(np.arange(N_VOLUMES), CENSORED)
    np.testing.assert_allclose(found[kept], series(0)[kept], rtol=1e-6)
    assert np.isnan(found[CENSORED]).all()


def test_a_table_of_outliers_that_does_not_fit_is_refused(tmp_path):
    study = xcp_d(tmp_path, CENSORED)
    write_series(study.root, "sub-02", series(1)[:38])
    with pytest.raises(
        DataError, match=r"has 38 rows, but sub-02_task-rest_outliers\.tsv speaks of 40 volumes, of which 36"
    ):
        study.create()


def test_without_a_table_of_outliers_the_user_is_told(tmp_path):
    study = xcp_d(tmp_path)
    for path in study.root.rglob("*outliers.tsv"):
        path.unlink()
    with pytest.warns(DataWarning, match=r"no outliers\.tsv says which volumes were censored"):
        study.create()


def test_a_parcel_that_is_missing_in_one_subject_is_named_and_can_be_left_out(tmp_path):
    study = xcp_d(tmp_path, CENSORED, removed=True)
    values = np.delete(series(1), CENSORED, axis=0)
    values[:, [1, 3]] = np.nan
    write_series(study.root, "sub-02", values)
    sentence = (
        r"Subject sub-02, group bold, run task-rest: no sample of M1, S1 is a number; .* \(by 'exclude_channels'\)"
    )
    with pytest.raises(DataError, match=sentence):
        study.create()
    assert not study.target.exists()
    study.group["exclude_channels"] = ["M1", "S1"]
    with pytest.warns(DataWarning, match="Censored"):
        store = study.create()
    assert store.attributes("sub-01", "bold").channel_names == ("V1", "A1")
    found = store.read("sub-02", "bold")
    np.testing.assert_allclose(found[1:11], series(1)[1:11][:, [0, 2]], rtol=1e-6)
    study.group["exclude_channels"] = ["M2"]
    with pytest.raises(DataError, match=r"exclude_channels names 'M2', which is none of the channels"):
        study.create()


def test_a_parcel_that_is_missing_from_one_table_is_named(tmp_path):
    study = xcp_d(tmp_path)
    path = next(study.root.glob("sub-02/func/*timeseries.tsv"))
    path.write_text("\n".join("\t".join(line.split("\t")[:3]) for line in path.read_text().splitlines()) + "\n")
    with pytest.raises(DataError, match="the number of channels is"):
        study.create()


@pytest.mark.parametrize("entity", ["atlas", "seg"])
def test_several_atlases_ask_for_one(tmp_path, entity):
    study = xcp_d(tmp_path)
    for seed, subject in enumerate(study.subjects):
        write_series(study.root, subject, series(7 + seed), f"{entity}-Gordon")
    with pytest.raises(DataError, match=r"are both run task-rest; say which by bids\.atlas"):
        study.create()
    study.group["bids"]["atlas"] = "Gordon"
    np.testing.assert_allclose(study.create().read("sub-02", "bold"), series(8), rtol=1e-6)


def test_confounds_are_gone_already(tmp_path):
    study = xcp_d(tmp_path)
    study.group["confounds_strategy"] = ["motion"]
    with pytest.raises(ConfigurationError, match="left out with xcp_d, which has removed the confounds"):
        study.create()


def test_no_repetition_time_anywhere(tmp_path):
    study = xcp_d(tmp_path)
    for path in study.root.rglob("*.json"):
        path.unlink()
    with pytest.raises(DataError, match=r"timeseries\.tsv does not say its sampling frequency; give"):
        study.create()
    study.group["repetition_time"] = 0.8
    assert study.create().attributes("sub-01", "bold").sampling_frequency == 1.25
