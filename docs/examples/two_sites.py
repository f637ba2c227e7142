from pathlib import Path

import numpy as np

generator = np.random.default_rng(0)
mixing = generator.normal(size=(6, 6))
rows = ["subject,session,file,site,subset"]
for number in range(8):
    noise = generator.normal(size=(3100, 6))
    signals = (
        sum(0.8**lag * noise[lag : lag + 3000] for lag in range(20))
        @ mixing
        * generator.choice([-1, 1], size=6)
    )
    folder = Path("ready") / f"sub-{number}"
    folder.mkdir(parents=True)
    np.save(folder / "rest.npy", signals)
    subset = "training" if number < 5 else "validation" if number == 5 else "testing"
    site = "north" if number < 6 else "south"
    rows.append(f"sub-{number},,ready/sub-{number}/rest.npy,{site},{subset}")
Path("files.csv").write_text("\n".join(rows) + "\n")
