"""Workers keep the order, hand errors on, and leave torch's threads as they were."""

import threading

import pytest
import torch

from dynml.ops.workers import Workers


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_come_in_the_order_of_the_items(n_threads):
    before = torch.get_num_threads()
    with Workers(n_threads) as workers:
        results = list(workers.map(lambda item, other: item * other, range(50), range(50)))
    assert results == [item * item for item in range(50)]
    assert torch.get_num_threads() == before


def test_work_runs_on_threads_with_one_core_each():
    with Workers(2) as workers:
        names = set(workers.map(lambda _: threading.current_thread().name, range(20)))
        cores = set(workers.map(lambda _: torch.get_num_threads(), range(20)))
    assert threading.current_thread().name not in names
    assert cores == {1}


def test_an_error_reaches_the_caller():
    def fail(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"), Workers(2) as workers:
        list(workers.map(fail, range(5)))
