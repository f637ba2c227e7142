"""What a run remembers of itself."""

import math

import numpy as np
import pytest
import torch

from dynml.training.monitors import BestMonitor, EpochMonitor, History


def test_epoch_mean_is_weighted_and_goes_on_exactly_from_a_checkpoint():
    values, weights = torch.rand(50, dtype=torch.float64), torch.randint(1, 9, (50,)).tolist()
    whole, first, second = EpochMonitor(), EpochMonitor(), EpochMonitor()
    for value, weight in zip(values, weights):
        whole.add(value, weight)
    for value, weight in zip(values[:20], weights[:20]):
        first.add(value, weight)
    second.load_state_dict(first.state_dict())
    for value, weight in zip(values[20:], weights[20:]):
        second.add(value, weight)
    assert second.mean == whole.mean
    assert whole.mean == pytest.approx(np.average(values.numpy(), weights=weights), rel=1e-14)


def test_a_value_that_is_not_finite_is_never_the_best():
    monitor = BestMonitor()
    assert not monitor.update(math.nan, 1)
    assert monitor.best_value is None
    assert monitor.update(3.0, 2)
    assert not monitor.update(-math.inf, 3)
    assert (monitor.best_value, monitor.best_epoch, monitor.n_epochs_without_improvement) == (3.0, 2, 1)


def test_an_improvement_must_exceed_delta():
    monitor = BestMonitor(delta=0.1)
    assert [monitor.update(value, epoch) for epoch, value in enumerate([1.0, 0.95, 0.89, 0.8], 1)] == [
        True,
        False,
        True,
        False,
    ]


def test_history_files_hold_every_epoch_and_nan_where_a_metric_was_missing(tmp_path):
    history = History()
    history.append({"training_loss": 2.0})
    history.append({"training_loss": 1.0, "validation_loss": 1.5})
    history.save(tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "training_loss_per_epoch.npy"), [2.0, 1.0])
    np.testing.assert_array_equal(np.load(tmp_path / "validation_loss_per_epoch.npy"), [math.nan, 1.5])
    assert (tmp_path / "metrics.csv").read_bytes() == b"epoch,training_loss,validation_loss\n1,2.0,\n2,1.0,1.5\n"


def test_sums_of_usable_values_are_made_on_the_device_in_float64():
    values, weights = torch.rand(30), torch.randint(0, 9, (30,))
    usable = torch.rand(30) > 0.3
    values[~usable | (weights == 0)] = math.nan
    monitor = EpochMonitor()
    for value, weight, flag in zip(values, weights, usable):
        monitor.add(value, weight, flag)
    counted = usable.numpy() * weights.numpy()
    assert monitor.weight == counted.sum()
    expected = np.average(np.nan_to_num(values.double().numpy()), weights=counted)
    assert monitor.mean == pytest.approx(expected, rel=1e-14)
    alone = EpochMonitor()
    alone.add(2.5, 2**25 + 1, torch.tensor(True))
    alone.add(9.0, 7, torch.tensor(False))
    assert (alone.mean, alone.weight) == (2.5, 2**25 + 1)
