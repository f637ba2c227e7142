"""Workers keep the order, hand errors on, and leave torch's threads as they were."""

import threading

import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

from dynml.ops.workers import Workers, one_thread, over_threads


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


def threads_of_numpy():
    return {library.num_threads for library in ThreadpoolController().select(internal_api="openblas").lib_controllers}


def test_products_of_numpy_run_on_one_core_each_and_as_before_thereafter():
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads_of_numpy()
        with Workers(2) as workers:
            assert all(found <= {1} for found in workers.map(lambda _: threads_of_numpy(), range(4)))
        assert threads_of_numpy() == before


@pytest.mark.parametrize("n_items", [0, 1])
def test_a_single_piece_is_not_handed_over(n_items):
    with Workers(2) as workers:
        names = list(workers.map(lambda _: threading.current_thread().name, range(n_items)))
    assert names == [threading.current_thread().name] * n_items


def test_an_error_reaches_the_caller():
    def fail(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"), Workers(2) as workers:
        list(workers.map(fail, range(5)))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_pieces_of_kernels_come_back_in_order_and_each_is_done_once(n_threads):
    before, done = torch.get_num_threads(), []
    torch.set_num_threads(n_threads)
    try:
        for _ in range(50):
            assert over_threads(lambda piece: done.append(piece) or 2 * piece, range(7)) == [0, 2, 4, 6, 8, 10, 12]
        assert over_threads(lambda piece: piece, []) == []
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert sorted(done) == sorted(list(range(7)) * 50)


def test_an_error_in_a_piece_reaches_the_caller():
    def fail(piece):
        raise ValueError(f"piece {piece}")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="piece"):
            over_threads(fail, range(4))
    finally:
        torch.set_num_threads(before)


def test_kernels_keep_their_threads_where_torch_has_one():
    """Two pieces that wait for each other end only if two threads take them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def meet(_):
        try:
            return together.wait(timeout=120) >= 0
        except threading.BrokenBarrierError:
            return False

    try:
        together = threading.Barrier(2)
        with one_thread(but_kernels=True):
            assert torch.get_num_threads() == 1
            assert over_threads(meet, range(2)) == [True, True]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_within_one_thread_no_other_thread_takes_a_piece():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            names = over_threads(lambda _: threading.current_thread().name, range(8))
    finally:
        torch.set_num_threads(before)
    assert set(names) == {threading.current_thread().name}
