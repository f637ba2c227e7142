"""Batches that do not fit into memory: learnt from in halves, to the numbers of the whole."""

import numpy as np
import pytest
import torch
from small_model import OneStepAhead

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.errors import DataWarning
from dynml.training.batch_result import BatchResult
from dynml.training.costs import COST_ENDINGS
from dynml.training.gradients.halving import halved_result, halves_of

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB."


class Crowded(OneStepAhead):
    """Runs out of memory once: before the forward pass, or amid the backward pass."""

    def __init__(self, n_channels, where=None, most=None):
        torch.manual_seed(0)
        super().__init__(n_channels)
        self.dropout.p = 0.0
        self.where, self.most, self.sizes = where, most, []

    def compute_loss(self, outputs, batch):
        self.sizes.append(len(outputs))
        loss, n = super().compute_loss(outputs, batch)
        if self.training and (self.where == "forward" or (self.most and len(outputs) > self.most)):
            self.where = None
            raise torch.OutOfMemoryError(CUDA)
        if self.training and self.where == "backward":
            self.where = None
            hook = self.linear.bias.register_hook(self.fail)
            self.remove = hook.remove
        return loss, n

    def fail(self, gradient):
        self.remove()
        raise torch.OutOfMemoryError(CUDA)


def numbers(trainer):
    rows = [
        {name: value for name, value in row.items() if not name.endswith(COST_ENDINGS)} for row in trainer.history.rows
    ]
    return trainer.model.state_dict(), rows


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("non_finite_check_every", [1, 4])
def test_training_goes_on_in_halves_to_the_same_numbers(make_trainer, where, non_finite_check_every):
    settings = {"non_finite_check_every": non_finite_check_every, "max_epochs": 3}
    whole = make_trainer("whole", model=Crowded(4), **settings)
    whole.train_and_validate()
    crowded = make_trainer("crowded", model=Crowded(4, where), **settings)
    with pytest.warns(DataWarning, match="Memory ran out in a training batch; .* two halves") as told:
        crowded.train_and_validate()
    assert len([one for one in told if "Memory ran out" in str(one.message)]) == 1
    assert crowded.model.sizes[:3] == [3, 1, 2]
    (weights, rows), (others, other_rows) = numbers(whole), numbers(crowded)
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-5, atol=1e-6)
    for row, other in zip(rows, other_rows, strict=True):
        assert other == pytest.approx(row, rel=1e-5)


def test_halves_that_do_not_fit_either_end_the_run(make_trainer):
    trainer = make_trainer(model=Crowded(4, most=1))
    with pytest.warns(DataWarning, match="two halves"), pytest.raises(torch.OutOfMemoryError):
        trainer.train_and_validate()


def test_other_errors_are_not_taken_for_a_lack_of_memory(make_trainer):
    class Faulty(Crowded):
        def compute_loss(self, outputs, batch):
            raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        make_trainer(model=Faulty(4)).train_and_validate()


@pytest.mark.parametrize("collate", ["padded", "packed"])
def test_halves_are_the_spans_of_the_whole_and_weigh_as_their_samples(collate):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(n, 3)).astype(np.float32) for n in (17, 40, 23)]
    dataset = MultiSubjectDataset.from_arrays(arrays, standardization="none")
    sampler = BatchSampler(dataset, window_length=20, batch_size_training=5)
    loader = BatchLoader(dataset, None, collate=collate)
    batch = next(iter(loader.iterate(sampler, 0)))
    weights = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    unused = torch.zeros(2, requires_grad=True)

    def run_one_batch(part):
        rows = part.signals if part.is_packed else part.signals[part.mask]
        squares = (rows @ weights).square()
        return BatchResult(squares.mean(), float(len(rows)), {"mean": squares.mean() * 2})

    first, second = halves_of(batch)
    assert [*first.spans, *second.spans] == [*batch.spans]
    assert (first.n_samples + second.n_samples, first.keys.tolist()) == (
        batch.n_samples,
        batch.keys[: batch.n_spans // 2].tolist(),
    )
    whole, halved = run_one_batch(batch), halved_result(batch, run_one_batch, [weights, unused])
    (expected,) = torch.autograd.grad(whole.loss, [weights])
    (halved.loss / 2).backward()
    torch.testing.assert_close(weights.grad, expected / 2)
    assert unused.grad is None
    assert float(halved.n) == whole.n
    torch.testing.assert_close(halved.loss.detach(), whole.loss.detach())
    torch.testing.assert_close(halved.metrics["mean"].detach(), whole.metrics["mean"].detach())
