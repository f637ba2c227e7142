from math import prod

import numpy as np
import pytest
import torch
from backbones_making import (
    cbramod_encoded,
    cbramod_shapes,
    cbramod_weights,
    cortex_mae_checkpoint,
    cortex_mae_encoded,
    cortex_mae_shapes,
)
from scipy.signal import resample_poly

from dynml.exchange.published_backbones import convert_published_backbone
from dynml.models.sequence.backbones.published.cbramod import CBraMod
from dynml.models.sequence.backbones.published.cortex_mae import CortexMae
from dynml.models.sequence.windows import Windows

EQUAL = {"rtol": 1e-5, "atol": 1e-5}


def windows_of(signals, known=None):
    """Trials (T, C) of any lengths, padded with what must not be looked at."""
    longest = max(map(len, signals))
    mask = torch.arange(longest) < torch.tensor([len(one) for one in signals])[:, None]
    padded = torch.full((len(signals), longest, signals[0].shape[1]), 7.0)
    for row, one in enumerate(signals):
        padded[row, : len(one)] = one
    seconds = torch.zeros(mask.shape, dtype=torch.float64)
    return Windows(padded, mask, seconds, torch.zeros(len(signals), dtype=torch.long), observed_BT=known)


def cbramod(published, n_channels, **settings):
    converted, config = convert_published_backbone(published, "cbramod", where="The file")
    model = CBraMod(type(config)(**converted.settings | settings), n_channels)
    model.load_state_dict(converted.weights)
    return model.eval()


def cortex_mae(checkpoint, **settings):
    converted, config = convert_published_backbone(checkpoint, "cortex_mae", where="The file")
    model = CortexMae(type(config)(**converted.settings | settings), converted.n_channels)
    model.load_state_dict(converted.weights)
    return model.eval()


def patches_of(signals):
    """(T, C) to (C, N, 200)."""
    return signals.T.reshape(signals.shape[1], -1, 200)


@pytest.fixture(scope="module")
def eeg():
    return torch.randn(600, 5, generator=torch.Generator().manual_seed(1))


def test_published_files_have_as_many_numbers_as_they_say():
    shapes = cbramod_shapes()
    assert (len(shapes), sum(prod(shape) for shape in shapes.values())) == (211, 4_924_000)
    encoder = cortex_mae_shapes(decoder=False)
    assert round(sum(prod(shape) for shape in encoder.values()) / 1e6, 2) == 85.37


@pytest.mark.parametrize(("n_layers", "n_channels", "n_patches"), [(2, 5, 3), (1, 21, 1), (1, 1, 9)])
def test_cbramod_computes_what_the_published_one_does(n_layers, n_channels, n_patches):
    published = cbramod_weights(n_layers)
    signals = torch.randn(n_patches * 200, n_channels, generator=torch.Generator().manual_seed(2))
    model, expected = cbramod(published, n_channels), cbramod_encoded(published, patches_of(signals), n_layers)
    with torch.no_grad():
        tokens = model.tokens(patches_of(signals)[None], torch.ones(1, n_patches, dtype=torch.bool))
        pooled = model.pooled(windows_of([signals]))
    assert 0.3 < float(expected.std()) < 30
    torch.testing.assert_close(tokens[0].double(), expected, **EQUAL)
    torch.testing.assert_close(pooled[0].double(), expected.mean(dim=1).flatten(), **EQUAL)


def test_a_trial_is_read_alike_whatever_stands_beside_it_and_behind_it(eeg):
    model = cbramod(cbramod_weights(1), 5)
    trials = [eeg[:600], eeg[50:250], eeg[100:500], eeg[:601]]
    trials[3] = torch.cat([eeg, eeg[:30]])
    with torch.no_grad():
        together = model.pooled(windows_of(trials))
        alone = torch.cat([model.pooled(windows_of([trial])) for trial in trials])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(together[3], together[0])  # what fills no patch is not read


def test_units_rate_and_order_are_made_those_of_the_weights(eeg):
    published = cbramod_weights(1)
    plain, order = cbramod(published, 5), [3, 0, 1, 4, 2]
    faster = np.ascontiguousarray(resample_poly(eeg.numpy(), 5, 4, axis=0, padtype="line"))
    stored = torch.from_numpy(faster[:, np.argsort(order)] * 1e-4).float()
    converting = cbramod(published, 5, input_scale=1e4, input_rate=250.0, input_columns=order)
    expected = torch.from_numpy(resample_poly(faster, 4, 5, axis=0, padtype="line")).float()
    with torch.no_grad():
        torch.testing.assert_close(
            converting.pooled(windows_of([stored])), plain.pooled(windows_of([expected])), rtol=1e-3, atol=1e-3
        )


def test_patches_without_an_observed_sample_are_the_hidden_patch_and_do_not_count(eeg):
    published = cbramod_weights(1)
    published["patch_embedding.mask_encoding"] = torch.randn(200)
    model = cbramod(published, 5)
    known = torch.ones(1, 600, dtype=torch.bool)
    known[0, 200:400] = False
    zeroed = torch.where(known[0, :, None], eeg, 0.0)
    hidden = torch.where(known[0, :, None], eeg, published["patch_embedding.mask_encoding"].repeat(3)[:, None])
    expected = cbramod_encoded(published, patches_of(hidden), 1)[:, [0, 2]].mean(dim=1)
    with torch.no_grad():
        pooled = model.pooled(windows_of([zeroed], known))
    torch.testing.assert_close(pooled[0].double(), expected.flatten(), **EQUAL)


@pytest.mark.parametrize("n_frames", [16, 8])
def test_cortex_mae_computes_what_the_published_one_does(n_frames):
    checkpoint = cortex_mae_checkpoint()
    frames = 2 * torch.randn(n_frames, 12, generator=torch.Generator().manual_seed(3)) + 1
    frames[2, 4] = 50.0
    model = cortex_mae(checkpoint)
    class_token, tokens = cortex_mae_encoded(checkpoint["model"], frames, 2, 2)
    with torch.no_grad():
        mean, of_class = (model.pooled(windows_of([frames]), way) for way in ("mean", "class_token"))
    torch.testing.assert_close(mean[0].double(), tokens.flatten(0, 1).mean(dim=0), **EQUAL)
    torch.testing.assert_close(of_class[0].double(), class_token, **EQUAL)


def test_longer_trials_are_clips_and_shorter_ones_end_in_zeros():
    checkpoint = cortex_mae_checkpoint(n_layers=1)
    model = cortex_mae(checkpoint)
    frames = torch.randn(39, 12, generator=torch.Generator().manual_seed(4))
    first, second = (cortex_mae_encoded(checkpoint["model"], part, 1, 2)[1] for part in (frames[:16], frames[16:32]))
    with torch.no_grad():
        pooled = model.pooled(windows_of([frames, frames[:6]]))
        padded = model.embedder(torch.nn.functional.pad(normal(frames[:6]), (0, 0, 0, 2))[None])
        short = model.final_norm(model.encoder[0](padded, None))[0, 1:].mean(dim=0)
    torch.testing.assert_close(pooled[0].double(), torch.cat([first, second]).flatten(0, 1).mean(dim=0), **EQUAL)
    torch.testing.assert_close(pooled[1], short, **EQUAL)


def normal(frames):
    return ((frames - frames.mean(1, keepdim=True)) / (frames.std(1, keepdim=True) + 1e-6)).clamp(-3, 3)


def test_patches_without_an_observed_frame_are_seen_by_none():
    model = cortex_mae(cortex_mae_checkpoint(n_layers=2))
    frames = torch.randn(16, 12, generator=torch.Generator().manual_seed(5))
    known = torch.ones(1, 16, dtype=torch.bool)
    known[0, 12:] = False
    with torch.no_grad():
        hidden = model.features(torch.where(known[0, :, None], frames, 0.0)[None], known, "mean")
        shorter = model.pooled(windows_of([frames[:12]]))
    torch.testing.assert_close(hidden, shorter, **EQUAL)


def test_frames_at_another_rate_are_interpolated():
    checkpoint = cortex_mae_checkpoint(n_layers=1)
    frames = torch.randn(8, 12, generator=torch.Generator().manual_seed(6))
    at_one_second = torch.nn.functional.interpolate(frames.T[None], size=16, mode="linear")[0].T
    converting, plain = cortex_mae(checkpoint, input_rate=0.5), cortex_mae(checkpoint)
    with torch.no_grad():
        torch.testing.assert_close(
            converting.pooled(windows_of([frames])), plain.pooled(windows_of([at_one_second])), **EQUAL
        )


def test_a_place_of_the_class_token_is_added_to_it():
    checkpoint = cortex_mae_checkpoint(n_layers=1)
    place = torch.randn(1, 1, 128)
    frames = torch.randn(16, 12)
    moved = {**checkpoint["model"], "encoder.cls_token": checkpoint["model"]["encoder.cls_token"] + place}
    given = {**checkpoint["model"], "encoder.cls_token_pos": place}
    with torch.no_grad():
        found = [cortex_mae(checkpoint | {"model": one}).pooled(windows_of([frames])) for one in (moved, given)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradients_reach_every_weight(eeg, checkpointing):
    models = [
        (cbramod(cbramod_weights(1), 5, activation_checkpointing=checkpointing), eeg[:400]),
        (cortex_mae(cortex_mae_checkpoint(n_layers=1), activation_checkpointing=checkpointing), torch.randn(16, 12)),
    ]
    for model, signals in models:
        weights = torch.linspace(-1, 1, model.n_features)
        (model.pooled(windows_of([signals])) * weights).sum().backward()
        without = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()]
        assert without in ([], ["embedder.hidden_patch_P"])
