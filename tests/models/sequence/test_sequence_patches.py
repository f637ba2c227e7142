"""Tokens of several samples: what is hidden, what is seen, and that tasks, baselines and states fit together."""

import dataclasses

import numpy as np
import pytest
import torch
from sequence_making import N_CHANNELS, model_of, task_of
from sequence_runs import TINY, rotations
from sequence_windows import SMALL, windows

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.sequence.baselines.simple import Ar1, Persistence
from dynml.models.sequence.baselines.var import RidgeVar
from dynml.models.sequence.config import AutoencoderConfig, CsmConfig, SequenceBertConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.tasks import masked_samples_task, next_sample_task
from dynml.models.sequence.settling import check_windows, settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import in_patches, masked_windows, of_samples, patched

P = 4
KINDS = ("csm", "sequence_bert", "sequence_bert_post", "network_bert")


def test_patches_hold_their_samples_channel_by_channel_and_end_where_the_window_does():
    given = windows(3, (10, 3))
    found = patched(given, P)
    assert found.shape == (2, 3, 12)
    assert found.mask_BT.tolist() == [[True, True, True], [True, False, False]]
    np.testing.assert_array_equal(found.signals_BTC[0, 1].view(P, 3), given.signals_BTC[0, 4:8])
    assert found.signals_BTC[0, 2].view(P, 3)[2:].abs().sum() == 0
    assert found.seconds_BT[0].tolist() == [0.0, 2.0, 4.0]
    assert patched(given, 1) is given
    assert of_samples(torch.tensor([[1, 2, 3]]), P, 10).tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 3, 3]]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_batch_mates_change_no_state_and_no_prediction(kind):
    model, given = model_of(kind, patch_length=P), windows()
    alone = windows(lengths=(20, 13))
    alone = dataclasses.replace(
        alone,
        signals_BTC=given.signals_BTC[1:2, :13],
        mask_BT=given.mask_BT[1:2, :13],
        seconds_BT=given.seconds_BT[1:2, :13],
        keys_B=given.keys_B[1:2],
    )
    with torch.no_grad():
        torch.testing.assert_close(model.states(given)[1:2, :13], model.states(alone), atol=1e-5, rtol=0)
        torch.testing.assert_close(model.pooled(given)[1:2], model.pooled(alone), atol=1e-5, rtol=0)
        task, own = task_of(model, given), task_of(model, alone)
        scored = own.scored.expand_as(alone.signals_BTC)
        assert torch.equal(task.scored.expand_as(given.signals_BTC)[1:2, :13], scored)
        both = [model(one).predicted_BTC for one in (task, own)]
        torch.testing.assert_close(both[0][1:2, :13][scored], both[1][scored], atol=1e-5, rtol=0)


def test_a_causal_model_predicts_a_patch_from_the_patches_before_it_alone():
    model, given = model_of("csm", patch_length=P), windows(lengths=(20, 20))
    task = task_of(model, given)
    assert task.scored[0, :, 0].tolist() == [False] * P + [True] * 16
    changed = given.signals_BTC.clone()
    changed[:, 9:] += 1.0  # from the second sample of the third patch on
    other = task_of(model, dataclasses.replace(given, signals_BTC=changed))
    with torch.no_grad():
        before, after = model(task).predicted_BTC, model(other).predicted_BTC
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert (before[:, 12:16] - after[:, 12:16]).abs().min(dim=1).values.max() > 1e-4


def test_whole_patches_are_hidden_and_what_is_hidden_is_not_seen():
    given = windows(lengths=(20, 13))
    task = masked_samples_task(given, 0.4, patch_length=P)
    hidden_BN = in_patches(task.scored[:, :, 0], P)
    assert hidden_BN[0].any(dim=1).sum() == 2  # of five patches
    assert torch.equal(hidden_BN[0].any(dim=1), hidden_BN[0].all(dim=1))
    assert torch.equal((task.visible | task.scored)[:, :, 0], given.known_BT)
    model = model_of("sequence_bert", patch_length=P, masking_rate=0.4)
    changed = torch.where(task.scored, given.signals_BTC + 5.0, given.signals_BTC)
    with torch.no_grad():
        one, other = (
            model(task_of(model, dataclasses.replace(given, signals_BTC=own))).predicted_BTC
            for own in (given.signals_BTC, changed)
        )
    torch.testing.assert_close(one, other)


def test_masked_samples_of_a_patch_are_neither_shown_nor_scored():
    given = windows(lengths=(20, 20))
    observed = given.mask_BT.clone()
    observed[0, 5:11] = False
    noisy = dataclasses.replace(given, signals_BTC=given.signals_BTC + 0.0)
    masked = masked_windows(noisy, observed)
    for kind in ("csm", "sequence_bert"):
        model = model_of(kind, patch_length=P)
        task = task_of(model, masked)
        assert not (task.scored[:, :, 0] & ~observed).any()
        other = given.signals_BTC.clone()
        other[0, 5:11] = 9.0
        again = task_of(model, masked_windows(dataclasses.replace(given, signals_BTC=other), observed))
        with torch.no_grad():
            torch.testing.assert_close(model(task).predicted_BTC, model(again).predicted_BTC)


def test_baselines_of_patches_look_at_what_lies_before_the_patch():
    given = windows(lengths=(22, 9))
    task = next_sample_task(given, P)
    persistence = Persistence().predict(task)
    for start in (4, 8, 12, 16, 20):
        stop = min(start + P, 22)
        expected = given.signals_BTC[0, start - 1].expand(stop - start, N_CHANNELS)
        torch.testing.assert_close(persistence[0, start:stop], expected)
    torch.testing.assert_close(persistence[1, 8], given.signals_BTC[1, 7])
    generator = torch.Generator().manual_seed(0)
    ar1, var = Ar1(N_CHANNELS), RidgeVar(N_CHANNELS, 2)
    ar1.coefficients_C.copy_(torch.rand(N_CHANNELS, generator=generator))
    var.coefficients_NCC.copy_(0.3 * torch.randn(3, N_CHANNELS, N_CHANNELS, generator=generator))
    said = ar1.predict(task)
    torch.testing.assert_close(said[0, 10], given.signals_BTC[0, 7] * ar1.coefficients_C**3)
    found, history = var.predict(task), [given.signals_BTC[0, 6], given.signals_BTC[0, 7]]
    for step in range(P):
        history.append(history[-1] @ var.coefficients_NCC[1] + history[-2] @ var.coefficients_NCC[2])
        torch.testing.assert_close(found[0, 8 + step], history[-1], atol=1e-5, rtol=1e-5)


def test_embeddings_of_positions_and_time_count_patches():
    dataset = MultiSubjectDataset.from_arrays(rotations(2, 60))
    config = settled_model(CsmConfig(**TINY, patch_length=5), dataset)
    rate = float(dataset.training_set.sampling_frequencies[0])
    assert config.time_precision == pytest.approx(2.5 / rate)
    check_windows(config, (64 - 3) * 5, rate)
    with pytest.raises(ConfigurationError, match="at most 305 samples, patches of 5"):
        check_windows(config, 306, rate)
    with pytest.raises(ConfigurationError, match="model.patch_length is 5, but must be at most 4"):
        check_windows(config, 4, rate)


@pytest.mark.parametrize(
    ("config", "settings"),
    [(AutoencoderConfig, {}), (CsmConfig, {"objective": "single_mask"}), (SequenceBertConfig, {"next_sequence": True})],
)
def test_what_needs_single_samples_refuses_patches(config, settings):
    with pytest.raises(ConfigurationError, match="model.patch_length"):
        config(**SMALL, patch_length=2, **settings)


def test_training_begins_at_the_forecast_of_a_patch_and_is_no_worse_in_the_end(tmp_path):
    dataset = MultiSubjectDataset.from_arrays(rotations(4), rotations(1, seed=5))
    config = settled_model(CsmConfig(**TINY, patch_length=5), dataset)
    torch.manual_seed(0)
    model = Csm(config, dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=25, batch_size_training=8)
    trainer = SequenceTrainer(
        model, tmp_path, "run", sampler, BatchLoader(dataset, model), max_epochs=3, progress=False, device="cpu"
    )
    summary = trainer.train_and_validate()
    best = summary["baselines"]["ridge_var"]["validation"]
    assert best < summary["baselines"]["persistence"]["validation"]
    assert summary["score"]["validation"] <= best + 1e-3
    assert len(summary["score_by_horizon"]["model"]) == 5
