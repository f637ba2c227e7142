"""Passes that are cut into many chunks."""

import pytest

from dynml.ops.hmm import passes as hmm_pass


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setitem(hmm_pass.CHUNK_ROWS, "cpu", 64)
