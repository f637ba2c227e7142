"""Tables of statistics for subjects that have next to nothing."""

import numpy as np
import pandas
import pytest

from dynml.cli.outputs.statistics import StatisticsTables
from dynml.models.inferred import InferredSubject


def subject(alpha, segments, name="a", **further):
    alpha = np.asarray(alpha, dtype=np.float32)
    return InferredSubject(
        subject=name,
        alpha=alpha,
        segments=np.array(segments),
        log_likelihood=-1.0,
        n_samples=len(alpha),
        sampling_frequency=10.0,
        **further,
    )


@pytest.mark.parametrize("binarise", ["argmax", "percentile", "mixture"])
def test_states_without_a_visit_and_segments_of_one_sample_are_not_available(tmp_path, binarise):
    generator = np.random.default_rng(0)
    alpha = np.column_stack([generator.random(40), np.zeros(40)])
    alpha = np.column_stack([alpha[:, 0], 1 - alpha[:, 0], alpha[:, 1]])
    tables = StatisticsTables(tmp_path, covariances=np.stack([np.eye(2)] * 3), binarise=binarise)
    tables.add(subject(alpha, [[0, 40]], transitions=np.pad(np.ones((2, 2)), (0, 1))))
    tables.add(subject([[0.2, 0.8, 0.0]], [[0, 1]], name="b"))
    written = tables.write()
    read = {path.stem: pandas.read_csv(path, sep="\t", na_values="n/a") for path in written}
    never = read["alpha_statistics"].query("state == 3")
    assert never["mean"].tolist() == [0, 0]
    assert never[["kurtosis", "autocorrelation_time", "expected_lifetime"]].isna().all(axis=None)
    assert read["state_statistics"].query("state == 3").mean_lifetime.isna().all()
    assert read["transitions"].query("`from` == 3").probability.isna().all()
    assert read["transitions"].query("subject == 'b'").probability.isna().all()
    assert read["visits"].query("subject == 'b'").censored.tolist() == [True]
    assert all(path.with_suffix(".json").exists() for path in written)
    on = read["on_off"].query("state == 3")
    assert on.n_visits.fillna(0).eq(0).all()


def test_a_state_that_no_subject_visits_is_told(tmp_path):
    tables = StatisticsTables(tmp_path)
    assert tables.findings("state") == []
    tables.add(subject([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]], [[0, 2]]))
    assert tables.findings("state") == ["States 2, 3 are never the most probable one in these data."]
    tables.add(subject([[0.1, 0.9, 0.0]], [[0, 1]], name="b"))
    assert tables.findings("mode") == ["Mode 3 is never the most probable one in these data."]
