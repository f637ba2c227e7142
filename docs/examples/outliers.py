import json
from pathlib import Path

import numpy as np

for subject in ("sub-1", "sub-2", "sub-3"):
    folder = Path("ready") / subject
    folder.mkdir(parents=True)
    signals = np.random.default_rng(1).normal(size=(1000, 3))
    signals[500] = 100.0
    np.save(folder / "run-1.npy", signals)
group = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100}
steps = ["detrend", {"step": "clip", "limit": 4}]
Path("config.json").write_text(json.dumps({"signals": {**group, "preparation": steps}}))
