"""What others publish, in small: tar files and weights of learning-from-brains, and an HMM of osl-dynamics.

Shapes: T = samples, C = channels or networks, K = states, P = components.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_NETWORKS = 8
WIDTH = 64
N_STATES, N_CHANNELS, N_EMBEDDINGS, N_COMPONENTS = 3, 4, 5, 6


def write_tar_files(folder: Path) -> None:
    """Write upstream/, rest of four people in each of two data sets, and downstream/, labelled trials of two people."""
    generator = np.random.default_rng(0)
    for dataset, repetition_time in (("first", 0.72), ("second", 2.0)):
        for person in range(1, 5):
            name = f"ds-{dataset}_sub-{person:02d}_task-rest"
            path = folder / "upstream" / dataset / f"{name}.tar"
            _write_tar(path, {name: (_noise(generator, 120), repetition_time, {})})
    for person in (1, 2):
        name = f"ds-third_sub-{person:02d}_task-motor_run-1"
        trials = {
            f"{name}_sample_{number:03d}": (_noise(generator, 15), 0.72, {"task_label": number % 2})
            for number in range(6)
        }
        _write_tar(folder / "downstream" / f"{name}.tar", trials)


def _noise(generator: np.random.Generator, n_samples: int) -> NDArray[np.float32]:
    return generator.normal(size=(n_samples, N_NETWORKS)).astype(np.float32)


def _write_tar(path: Path, samples: Mapping[str, tuple[NDArray[np.float32], float, dict[str, Any]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, (signals, repetition_time, labels) in samples.items():
            for kind, value in {"bold": signals, "t_r": np.float32(repetition_time), **labels}.items():
                content = pickle.dumps(value)
                member = tarfile.TarInfo(f"{key}.{kind}.pyd")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def write_learning_from_brains_weights(folder: Path) -> None:
    """Write pytorch_model.bin: a causal model of one layer with random weights."""
    import torch

    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: 0.02 * torch.randn(shape, generator=generator) for name, shape in _shapes().items()}
    torch.save(weights, folder / "pytorch_model.bin")


def _shapes() -> dict[str, tuple[int, ...]]:
    layer = "decoder.transformer.h.0"
    shapes: dict[str, tuple[int, ...]] = {
        "embedder.wt_re.weight": (151, WIDTH),
        "embedder.msk_embed": (1, 1, N_NETWORKS),
        "embedder.cls_embed": (1, 1, N_NETWORKS),
        "decoder.transformer.wte.weight": (1, WIDTH),
        "decoder.transformer.wpe.weight": (64, WIDTH),
    }
    for name, shape in {
        f"{layer}.attn.c_attn": (WIDTH, 3 * WIDTH),
        f"{layer}.attn.c_proj": (WIDTH, WIDTH),
        f"{layer}.mlp.c_fc": (WIDTH, 4 * WIDTH),
        f"{layer}.mlp.c_proj": (4 * WIDTH, WIDTH),
    }.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[1:]}
    for name, shape in {
        "embedder.embed_model.model.0": (WIDTH, N_NETWORKS),
        "unembedder.model.0": (N_NETWORKS, WIDTH),
    }.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in ("embedder.embed_model.model.1", f"{layer}.ln_1", f"{layer}.ln_2", "decoder.transformer.ln_f"):
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return shapes


def write_osl_dynamics_model(folder: Path) -> None:
    """Write published_hmm/, arrays of a hidden Markov model, and new_people/, recordings of two people."""
    generator = np.random.default_rng(0)
    template = _covariance_of_embedding(generator)
    factors = generator.normal(size=(N_STATES, N_COMPONENTS, N_COMPONENTS))
    arrays = {
        "means": np.zeros((N_STATES, N_COMPONENTS)),
        "covs": factors @ factors.transpose(0, 2, 1) / N_COMPONENTS + 0.1 * np.eye(N_COMPONENTS),
        "trans_prob": 0.9 * np.eye(N_STATES) + 0.1 / N_STATES,
        "initial_state_probs": np.full(N_STATES, 1 / N_STATES),
        "pca_components": np.linalg.eigh(template)[1][:, -N_COMPONENTS:],
        "template_cov": template,
        "fe": generator.normal(8.5, 0.5, size=200),
    }
    published = folder / "published_hmm"
    published.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(published / f"{name}.npy", array.astype(np.float32))
    for person in (1, 2):
        place = folder / "new_people" / f"sub-{person}"
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / "meg.npy", generator.normal(size=(1500, N_CHANNELS)))


def _covariance_of_embedding(generator: np.random.Generator) -> NDArray[np.float64]:
    """Covariance (C n, C n) of embedded noise: rows are channel by channel, the latest sample first."""
    signals = np.cumsum(generator.normal(size=(2000, N_CHANNELS)), axis=0)
    signals = np.diff(signals + 0.5 * np.roll(signals, 1, axis=1), n=1, axis=0)
    standardized = (signals - signals.mean(axis=0)) / signals.std(axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(standardized, N_EMBEDDINGS, axis=0)
    embedded = windows[:, :, ::-1].reshape(len(windows), -1)
    covariance: NDArray[np.float64] = embedded.T @ embedded / len(embedded)
    return covariance
