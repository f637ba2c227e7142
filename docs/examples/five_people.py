import json
from pathlib import Path

import numpy as np

from dynml.simulation import simulate_hmm

people = simulate_hmm(n_subjects=6, n_states=3, n_channels=5, n_samples=1500)
for person, signals in enumerate(people.time_series, 1):
    folder = Path("ready" if person < 6 else "new") / f"sub-{person}"
    folder.mkdir(parents=True)
    np.save(folder / "run-1.npy", signals)
steps = [
    {"step": "sign_alignment", "n_embeddings": 3},
    {"step": "time_delay_embedding_pca", "n_embeddings": 3, "n_components": 6},
]
group = {"type": "timeseries", "files": "run-*.npy", "sampling_frequency": 250}
Path("config.json").write_text(json.dumps({"parcels": {**group, "preparation": steps}}))
