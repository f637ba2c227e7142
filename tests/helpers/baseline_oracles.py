"""Data, tasks and slow, obvious computations that baselines are compared with."""

import itertools

import numpy as np
import torch
from scipy.linalg import solve_discrete_lyapunov
from segments_making import recording_of
from sklearn.linear_model import Ridge

from dynml.models.sequence.baselines.both_sides import most_hidden
from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.windows import Windows

N_CHANNELS, N_LAGS, WINDOW, CODE = 3, 3, 12, 5
SIZES = {"n_lags": N_LAGS, "window_length": WINDOW, "code_size": CODE}
AHEAD = ("interpolation", "ridge_both_sides", "ridge_from_other_networks", "pca")
GAP = most_hidden(N_CHANNELS)


# ---------------------------------------------------------------------------------------------------- data


SCALES = (1.0, 20.0, 0.1)


def autoregression(lengths, seed=0, scales=SCALES, offset=2.0):
    """Series of a stable VAR(2), with channels of unlike sizes and means."""
    generator = np.random.default_rng(seed)
    first = np.array([[0.9, 0.3, 0.0], [-0.2, 0.8, 0.1], [0.1, 0.0, 0.5]])
    second = np.array([[-0.3, 0.0, 0.1], [0.0, -0.4, 0.0], [0.0, 0.2, 0.1]])
    arrays = []
    for n in lengths:
        rows = [np.zeros(3), np.zeros(3)]
        for _ in range(n + 48):
            rows.append(first @ rows[-1] + second @ rows[-2] + generator.normal(size=3))
        arrays.append(((np.array(rows[50:]) + offset) * scales).astype(np.float32))
    return arrays


CUTS = ([[0, 40], [45, 150]], [[3, 60], [60, 64], [70, 120]], [[0, 80]], [[10, 12], [20, 130]])


def windows_at(segments, window_length):
    """All windows of good stretches, one per row."""
    return np.array(
        [
            one[t : t + window_length].ravel()
            for one in itertools.chain(*segments)
            for t in range(len(one) - window_length + 1)
        ]
    )


def mean_and_scale(segments):
    rows = np.concatenate(list(itertools.chain(*segments)))
    return rows.mean(0), rows.std(0)


def explicit_ridge(segments, window_length, rows, target, penalty):
    """Coefficients (n_rows, C, C) by scikit-learn from standardized windows."""
    mean, scale = mean_and_scale(segments)
    windows = windows_at([[(one - mean) / scale for one in of] for of in segments], window_length)
    windows = windows.reshape(len(windows), window_length, -1)
    ridge = Ridge(alpha=penalty * len(windows), fit_intercept=False)
    ridge.fit(windows[:, rows].reshape(len(windows), -1), windows[:, target])
    return ridge.coef_.T.reshape(len(rows), len(mean), -1) / scale[:, None] * scale


def cut_recordings():
    """The same four subjects; between good stretches lie values that would be noticed."""
    found = []
    for array, cuts in zip(autoregression((150, 120, 80, 130)), CUTS):
        bad = np.ones(len(array), bool)
        for start, stop in cuts:
            bad[start:stop] = False
        array[bad] = 1e4
        found.append(recording_of(array, cuts))
    return found


# ---------------------------------------------------------------------------------------------------- tasks


def windows_of(signals, lengths=None, parts=None):
    signals = torch.as_tensor(signals, dtype=torch.float32)
    n_windows, n_times, _ = signals.shape
    lengths = torch.full((n_windows,), n_times) if lengths is None else torch.as_tensor(lengths)
    mask = torch.arange(n_times) < lengths[:, None]
    seconds = torch.arange(n_times).double().expand(n_windows, n_times)
    signals = torch.where(mask[:, :, None], signals, 0.0)
    return Windows(signals, mask, seconds, torch.arange(n_windows), parts)


def scoring_everything(windows, visible, causal=False):
    visible = visible & windows.mask_BT[:, :, None]
    return Task(windows, visible, windows.mask_BT[:, :, None], causal)


def random_task(seed, *, by="samples", n_windows=4, n_times=WINDOW, rate=0.4, with_parts=False, n_channels=N_CHANNELS):
    generator = np.random.default_rng(seed)
    signals = generator.normal(size=(n_windows, n_times, n_channels)) * 3
    signals[..., : len(SCALES)] *= SCALES
    lengths = generator.integers(1, n_times + 1, n_windows)
    lengths[0] = n_times
    parts = None
    if with_parts:
        parts = torch.arange(n_times) >= torch.from_numpy(generator.integers(0, n_times, n_windows))[:, None]
    shape = {
        "samples": (n_windows, n_times, 1),
        "numbers": (n_windows, n_times, n_channels),
        "networks": (n_windows, 1, n_channels),
        "nothing": (1, 1, 1),
    }[by]
    visible = torch.ones(shape, dtype=torch.bool)
    if by != "nothing":
        visible = torch.from_numpy(generator.random(shape) >= rate)
    return scoring_everything(windows_of(signals, lengths, None if parts is None else parts.long()), visible)


def pieces_of(task):
    """For each sample: window, time, channel, and the visible samples (time, value) of its part before and after."""
    n_windows, n_times, n_channels = task.windows.shape
    visible = task.visible.expand(n_windows, n_times, n_channels).numpy()
    signals, mask = task.windows.signals_BTC.numpy(), task.windows.mask_BT.numpy()
    types = task.windows.token_types_BT
    types = np.zeros((n_windows, n_times)) if types is None else types.numpy()
    for b, t, c in itertools.product(range(n_windows), range(n_times), range(n_channels)):
        if mask[b, t]:
            seen = [(s, signals[b, s, c]) for s in range(n_times) if visible[b, s, c] and types[b, s] == types[b, t]]
            yield b, t, c, [one for one in seen if one[0] < t], [one for one in seen if one[0] > t]


def forecast_by_loop(task, mean, coefficients, n_lags, backward=False):
    """One window and sample after the other: hidden samples become their own predictions."""
    n_windows, n_times, _ = task.windows.shape
    visible = task.visible.all(2).expand(n_windows, n_times).numpy()
    types = task.windows.token_types_BT
    types = np.zeros((n_windows, n_times)) if types is None else types.numpy()
    predicted = np.tile(mean, (n_windows, n_times, 1)).astype(np.float64)
    step, times = (1, range(n_times - 1, -1, -1)) if backward else (-1, range(n_times))
    for b in range(n_windows):
        known = task.windows.signals_BTC[b].double().numpy() - mean
        for t in times:
            # Back over the gap to the last visible sample, and on to the first of its run.
            lags, found_visible = [], False
            s = t + step
            while 0 <= s < n_times and types[b, s] == types[b, t] and (visible[b, s] or not found_visible):
                found_visible = found_visible or bool(visible[b, s])
                lags.append(s)
                s += step
            if not found_visible:
                continue
            n = min(len(lags), n_lags)
            blocks = coefficients[n * (n - 1) // 2 :][:n]
            predicted[b, t] += sum(known[s] @ block for s, block in zip(lags, blocks))
            if not visible[b, t]:
                known[t] = predicted[b, t] - mean
    return predicted


def both_sides_by_loop(task, ridge):
    n_windows, n_times, _ = task.windows.shape
    mean = ridge.mean_C.double().numpy()
    tables = {name: getattr(ridge, name).double().numpy() for name in ("forward_NCC", "backward_NCC", "gaps_N2CC")}
    sides = {2: ridge.sides_NCC[:4].double().numpy(), 3: ridge.sides_NCC[4:].double().numpy()}
    forward = forecast_by_loop(task, mean, tables["forward_NCC"], N_LAGS)
    backward = forecast_by_loop(task, mean, tables["backward_NCC"], N_LAGS, backward=True)
    signals = task.windows.signals_BTC.double().numpy() - mean
    visible = task.visible.all(2).expand(n_windows, n_times).numpy()
    types = task.windows.token_types_BT
    types = np.zeros((n_windows, n_times)) if types is None else types.numpy()
    predicted = np.tile(mean, (n_windows, n_times, 1))
    kinds = set()
    for b, t in itertools.product(range(n_windows), range(n_times)):
        seen = [s for s in range(n_times) if visible[b, s] and types[b, s] == types[b, t]]
        before, after = [s for s in seen if s < t][::-1], [s for s in seen if s > t]
        if not before and not after:
            kinds.add("nothing")
        elif not before or not after or after[0] - before[0] - 1 > ridge.longest_gap:
            k, distance = (t - before[0] if before else 99), (after[0] - t if after else 99)
            kinds.add("forward" if k <= distance else "backward")
            predicted[b, t] = (forward if k <= distance else backward)[b, t]
        else:
            k, distance = t - before[0], after[0] - t
            n = 1
            while k == distance == 1 and n < N_LAGS and {t - n - 1, t + n + 1} <= set(seen):
                n += 1
            kinds.add(f"sides of {n}" if k == distance == 1 else "gap")
            if n > 1:
                rows, blocks = before[:n] + after[:n], sides[n]
            else:
                n_hidden = k + distance - 1
                rows, blocks = [before[0], after[0]], tables["gaps_N2CC"][n_hidden * (n_hidden - 1) // 2 + k - 1]
            predicted[b, t] += sum(signals[b, s] @ block for s, block in zip(rows, blocks))
    return predicted, kinds


def stationary_process(seed=0, n_channels=4, lengths=(3000, 3000, 3000, 3000)):
    """A VAR(1): matrix, covariances of innovations and samples, and series."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(n_channels, n_channels))
    matrix *= 0.85 / np.abs(np.linalg.eigvals(matrix)).max()
    innovation = np.cov(generator.normal(size=(n_channels, 20)))
    covariance = solve_discrete_lyapunov(matrix, innovation)
    arrays = []
    for n in lengths:
        rows = [generator.multivariate_normal(np.zeros(n_channels), covariance)]
        for noise in generator.multivariate_normal(np.zeros(n_channels), innovation, size=n - 1):
            rows.append(matrix @ rows[-1] + noise)
        arrays.append(np.array(rows, dtype=np.float32))
    return matrix, innovation, covariance, arrays


def network_problem(seed=0, n_channels=10):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(n_channels, 6))
    return [
        (generator.normal(size=(n, 6)) @ mixing.T + 0.3 * generator.normal(size=(n, n_channels)) + 1.5).astype(
            np.float32
        )
        * np.geomspace(0.1, 10, n_channels, dtype=np.float32)
        for n in (90, 60, 70)
    ]
