"""A training batch passes few files, so that a reader can follow it from the store to the weights."""

import pytest
import walk

MOST = {"hmm": 20, "csm": 22, "dynemo": 24}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return walk.small_store(tmp_path_factory.mktemp("walk"))


@pytest.mark.parametrize("family", MOST)
def test_a_batch_passes_few_files(family, store, tmp_path):
    passed = walk.files_of_a_batch(family, store, tmp_path)
    assert {"dataset/rows.py", "batches/loader.py", "training/trainer.py", f"models/{_home(family)}.py"} <= set(passed)
    assert len(passed) <= MOST[family], passed


def _home(family):
    return {"csm": "sequence/objectives/csm"}.get(family, f"{family}/trainer")
