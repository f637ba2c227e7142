import json
from pathlib import Path

import numpy as np

for subject in ("sub-1", "sub-2", "sub-3"):
    folder = Path("ready") / subject
    folder.mkdir(parents=True)
    header = json.dumps({"rate": 100.0, "channels": ["left", "middle", "right"]})
    samples = np.random.default_rng(1).normal(size=(1000, 3)).astype("<f4")
    (folder / "run-1.sig").write_bytes(header.encode() + b"\n" + samples.tobytes())
config = {"signals": {"type": "timeseries", "files": ["run-*.sig"], "gain": 0.5}}
Path("config.json").write_text(json.dumps(config))
