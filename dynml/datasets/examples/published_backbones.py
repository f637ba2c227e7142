"""Weights of noise in the layout of CBraMod, and EEG with events that they can be adapted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N_PEOPLE, N_TRIALS, RATE = 6, 14, 250


def write_cbramod_weights(folder: Path) -> None:
    """Write pretrained_weights.pth, one layer, and eeg/, six people who think of a hand for a second, every two."""
    import torch

    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in _shapes().items()}
    torch.save(weights, folder / "pretrained_weights.pth")
    random = np.random.default_rng(0)
    for person in range(1, N_PEOPLE + 1):
        _write_eeg(folder / "eeg" / f"sub-{person}", random)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"patch_embedding.mask_encoding": (200,)}
    weights: dict[str, tuple[int, ...]] = {
        "patch_embedding.spectral_proj.0": (200, 101),
        "patch_embedding.positional_encoding.0": (200, 1, 19, 7),
        "encoder.layers.0.linear1": (800, 200),
        "encoder.layers.0.linear2": (200, 800),
        "encoder.layers.0.norm1": (200,),
        "encoder.layers.0.norm2": (200,),
        "proj_out.0": (200, 200),
    }
    for number, kernel in ((0, (1, 1, 49)), (3, (25, 1, 3)), (6, (25, 1, 3))):
        weights |= {f"patch_embedding.proj_in.{number}": (25, *kernel), f"patch_embedding.proj_in.{number + 1}": (25,)}
    for name in ("self_attn_s", "self_attn_t"):
        part = f"encoder.layers.0.{name}"
        shapes |= {f"{part}.in_proj_weight": (300, 100), f"{part}.in_proj_bias": (300,)}
        weights[f"{part}.out_proj"] = (100, 100)
    for name, shape in weights.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def _write_eeg(folder: Path, random: np.random.Generator) -> None:
    """White noise of 10 uV; in a trial the fifth or sixth channel (C3, C4) has a rhythm of 10 Hz."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = np.arange(RATE) / RATE
    signals, rows = random.normal(0, 10e-6, size=(30 * RATE, 19)), ["onset\tduration\thand"]
    for trial in range(N_TRIALS):
        onset = 2 * trial * RATE
        signals[onset : onset + RATE, 4 + trial % 2] += 2e-5 * np.sin(20 * np.pi * seconds + random.uniform(0, 6))
        rows.append(f"{2 * trial}\t1\t{('left', 'right')[trial % 2]}")
    np.save(folder / "eeg.npy", signals)
    (folder / "events.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
