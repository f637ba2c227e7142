from pathlib import Path

import numpy as np

for number in range(1, 9):
    generator = np.random.default_rng(number)
    onsets = np.arange(60, 1900, 80) + generator.integers(0, 30, 23)
    labels = generator.choice(["target", "other"], 23)
    loud = np.repeat(generator.random(100) < 0.3, 20)
    for onset in onsets[labels == "target"]:
        loud[onset + 5 : onset + 30] = True
    signals = generator.normal(size=(2000, 4)) * np.where(
        loud[:, None], [3.0, 3.0, 0.3, 1.0], 1.0
    )
    folder = Path("ready") / f"sub-{number:02d}"
    folder.mkdir(parents=True)
    np.save(folder / "run-1.npy", signals)
    lines = [f"{onset / 100}\t0.1\t{label}" for onset, label in zip(onsets, labels)]
    (folder / "events.tsv").write_text(
        "\n".join(["onset\tduration\ttrial_type", *lines]) + "\n"
    )
