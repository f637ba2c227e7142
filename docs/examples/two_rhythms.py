from pathlib import Path

import numpy as np
from scipy.signal import lfilter

generator = np.random.default_rng(1)


def rhythm(frequency, n_samples, radius=0.95):
    weights = [1, -2 * radius * np.cos(2 * np.pi * frequency / 100), radius**2]
    signal = lfilter([1.0], weights, generator.normal(size=n_samples + 200))[200:]
    return signal / signal.std()


for subject in range(1, 7):
    switches = np.cumsum(generator.random(6000) < 1 / 40)
    active = generator.integers(3, size=switches[-1] + 1)[switches]
    signals = generator.normal(size=(6000, 6))
    signals[:, :3] += 2 * (rhythm(10, 6000) * (active == 0))[:, None]
    signals[:, 3:] += 2 * (rhythm(22, 6000) * (active == 1))[:, None]
    folder = Path(f"recordings/sub-{subject:02d}")
    folder.mkdir(parents=True)
    np.save(folder / "run-1.npy", signals.astype(np.float32))
