import json
from pathlib import Path

import numpy as np

generator = np.random.default_rng(0)
for number in range(6):
    folder = Path("grip") / f"sub-{number}"
    folder.mkdir(parents=True)
    signals, rows = generator.normal(size=(1200, 4)), ["onset\tduration\tforce"]
    for trial in range(40):
        force = generator.uniform(0, 10)
        signals[30 * trial : 30 * trial + 20, 1] += 0.3 * force
        rows.append(f"{1.5 * trial}\t1\t{force:.2f}")
    np.save(folder / "meg.npy", signals)
    (folder / "events.tsv").write_text("\n".join(rows) + "\n")
group = {"type": "timeseries", "files": ["meg.npy"], "sampling_frequency": 20}
Path("grip.json").write_text(json.dumps({"meg": {**group, "events": "events.tsv"}}))
