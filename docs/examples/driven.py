import json
from pathlib import Path

import numpy as np

generator = np.random.default_rng(0)
for number in range(6):
    folder = Path(f"driven/sub-{number}")
    folder.mkdir(parents=True)
    course, signals = generator.normal(size=(500, 1)), np.zeros((500, 3))
    for t in range(2, 500):
        noise = 0.3 * generator.normal(size=3)
        signals[t] = 0.5 * signals[t - 1] + course[t - 2] * [1, -1, 0.5] + noise
    np.save(folder / "meg.npy", signals)
    np.save(folder / "stimulus.npy", course)
group = {"type": "timeseries", "sampling_frequency": 100}
config = {name: {**group, "files": [f"{name}.npy"]} for name in ("meg", "stimulus")}
Path("driven.json").write_text(json.dumps(config))
