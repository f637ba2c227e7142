import json
from pathlib import Path

metrics = json.loads(Path("decoded/metrics.json").read_text())
interval = metrics["accuracy_wilson_interval"]
print(f"accuracy of {metrics['n_trials']} blocks: {metrics['accuracy']:.2f}")
print(f"95 % interval: {interval[0]:.2f} to {interval[1]:.2f}")
print({name: row["accuracy"] for name, row in metrics["baselines"].items()})
assert metrics["pretraining_overlap"]["subjects"] == []
