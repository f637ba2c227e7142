"""Subjects are worked on in turn, by this process and others, with one thread each."""

import os
import sys
import types

import pytest

from dynml.conversion import subject_workers
from dynml.conversion.subject_workers import SubjectWorkers
from dynml.errors import DataError


def square_of(number):
    if number == 7:
        raise DataError("Subject seven is faulty.")
    return number * number, os.getpid()


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(n_jobs):
    with SubjectWorkers(n_jobs) as workers:
        assert [square for square, _ in workers.map(square_of, [3, 1, 2, 0, 5])] == [9, 1, 4, 0, 25]
        with pytest.raises(DataError, match="seven"):
            list(workers.map(square_of, range(9)))


def test_others_take_part_once_they_have_started():
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result()
        processes = {process for _, process in workers.map(square_of, [1] * 6)}
    assert os.getpid() in processes
    assert len(processes) == 2


def test_libraries_that_come_with_the_first_subject_are_limited_as_well(monkeypatch):
    name, limited = "a_library_of_linear_algebra", []
    monkeypatch.setattr(subject_workers, "PACKAGES_OF_LIBRARIES", (name,))
    monkeypatch.delitem(sys.modules, name, raising=False)

    def using(item):
        limited.append(name in sys.modules)
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        return item

    with SubjectWorkers(1) as workers:
        assert list(workers.map(using, ["a", "b"])) == ["a", "b"]
    assert limited == [False, True, True]
