import json
from pathlib import Path

import numpy as np

generator = np.random.default_rng(1)
caps = {
    "cap_a": ["Fz", "Cz", "Pz", "Oz", "C3", "C4"],
    "cap_b": ["Cz", "Pz", "Oz", "P3", "P4"],
}
names = sorted({name for cap in caps.values() for name in cap})
patterns = dict(zip(names, generator.normal(size=(len(names), 3))))
turning = 2.5 * np.linalg.qr(generator.normal(size=(3, 3)))[0]
for cap, n_subjects in (("cap_a", 8), ("cap_b", 3)):
    mixing = np.stack([patterns[name] for name in caps[cap]], axis=1)
    for number in range(n_subjects):
        sources = 0.1 * generator.normal(size=(400, 3))
        for t in range(1, 400):
            sources[t] += np.sin(turning @ sources[t - 1])
        signals = sources @ mixing
        signals += 0.2 * generator.normal(size=signals.shape)
        folder = Path(f"{cap}/{cap}-{number}")
        folder.mkdir(parents=True)
        np.save(folder / "eeg.npy", signals)
    group = {"type": "timeseries", "files": ["eeg.npy"], "sampling_frequency": 100}
    config = {cap: {**group, "channel_names": caps[cap]}}
    Path(f"{cap}.json").write_text(json.dumps(config))
