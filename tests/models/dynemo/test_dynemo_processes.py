"""What several processes cannot share."""

import numpy as np
import pytest

from dynml import BatchLoader, BatchSampler, Dynemo, DynemoConfig, DynemoTrainer, MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.training.processes import Processes


class OneOfTwo(Processes):
    """A process that never waits for the other one."""

    def from_first(self, give):
        return give()


@pytest.mark.parametrize("network", ["inference", "model"])
def test_batch_normalization_on_several_processes_is_refused(tmp_path, network):
    arrays = list(np.random.default_rng(0).normal(size=(2, 200, 3)).astype(np.float32))
    dataset = MultiSubjectDataset.from_arrays(arrays, rank=0, world_size=2)
    config = DynemoConfig(n_modes=2, sequence_length=20, **{f"{network}_normalization": "batch"})
    model = Dynemo(config, 3)
    arguments = (model, tmp_path, "run", BatchSampler(dataset, window_length=20), BatchLoader(dataset, model))
    with pytest.raises(ConfigurationError, match=rf"model\.{network}_normalization is 'batch'"):
        DynemoTrainer(*arguments, processes=OneOfTwo(0, 2))
