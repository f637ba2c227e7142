"""How long a report of many subjects takes, and how large its page is.

    python benchmarks/report.py [N_SUBJECTS]

100 subjects of 15000 samples, 10 channels and 6 states are simulated, a model is trained for two epochs, its states are
inferred, and the page is made of them. Seconds of the clock are those of a machine that does other work, too; those of
the processor are not.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
N_SAMPLES, N_CHANNELS, N_STATES = 15_000, 10, 6


def run(script, *arguments):
    """Run a script; seconds of the clock and of the processor."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([str(SCRIPTS / script), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - begin, 1), "processor_seconds": round(processor, 1)}


def measured(n_subjects, folder):
    """Go from a simulation to the page."""
    store, experiment, states, page = (folder / name for name in ("store.hdf5", "hmm", "states", "report.html"))
    sizes = ("--n_subjects", n_subjects, "--n_samples", N_SAMPLES, "--n_channels", N_CHANNELS, "--n_states", N_STATES)
    few = max(1, n_subjects // 10)
    run("dynml_simulate_data.py", "hmm", store, *sizes, "--n_validation_subjects", few, "--n_testing_subjects", few)
    training = ("--model.n_states", N_STATES, "--trainer.max_epochs", 2, "--initialization.n_init", 1)
    run("dynml_train_model.py", "hmm", folder, "hmm", store, "signals", *training)
    inference = run("dynml_infer_from_model.py", experiment, store, states)
    report = run("dynml_report.py", experiment, page, "--hdf5", store, "--results", states)
    return {
        "n_subjects": n_subjects,
        "n_samples": N_SAMPLES,
        "n_channels": N_CHANNELS,
        "n_states": N_STATES,
        "inference": inference,
        "report": report,
        "page_megabytes": round(page.stat().st_size / 1e6, 2),
    }


def main():
    """Measure, print, and keep the numbers."""
    n_subjects = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        found = measured(n_subjects, Path(folder))
    print(json.dumps(found, indent=2))
    if n_subjects == 100:
        path = Path(__file__).parent / "results" / "report.json"
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
