"""`make demo`: an HMM on real fMRI, from NIfTI images to figures, by the very commands that the README shows.

The recordings (Haxby et al. 2001, one participant, 12 runs) lie inside the package; nothing is downloaded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dynml.cli.parsing import ScriptParser

SCRIPTS = Path(sys.executable).parent


def main() -> None:
    """Lay out the recordings, run the scripts, draw the figures, say where to look and how it went."""
    parser = ScriptParser(description=__doc__)
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder for everything that the demo makes")
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file of the training's settings")
    arguments = parser.parse_args()
    begin = time.monotonic()
    out = Path(arguments.out_folder)
    shutil.rmtree(out, ignore_errors=True)
    run_scripts(out, Path(arguments.recipe))
    figures = draw_figures(out)
    print(_last_words(out, figures, time.monotonic() - begin))


def run_scripts(out: Path, recipe: Path) -> None:
    """Go from recordings to inferred states, one printed command after the other."""
    from dynml.datasets import write_haxby2001_ready_folder

    ready = write_haxby2001_ready_folder(out / "recordings")
    (out / "experiments").mkdir()
    store, lists = out / "haxby.hdf5", (ready.training, ready.validation, ready.testing)
    _run("dynml_create_hdf5_dataset.py", ready.subjects_folder, store, ready.config, *lists)
    _run("dynml_hdf5_print_architecture.py", store)
    _run("dynml_train_model.py", "hmm", out / "experiments", "haxby_hmm", store, "bold", "--config", recipe)
    _run("dynml_infer_from_model.py", out / "experiments" / "haxby_hmm", store, out / "states")


def draw_figures(out: Path) -> list[Path]:
    """Draw free energy, state probabilities beside the task, covariances and transitions into `out/figures`."""
    import numpy as np

    from dynml.data.store_reading import Store
    from dynml.plotting.curves import plot_free_energy
    from dynml.plotting.matrices import plot_covariances, plot_transition_probabilities
    from dynml.plotting.states import plot_state_probabilities
    from dynml.plotting.style import save_figure

    experiment, states, folder = out / "experiments" / "haxby_hmm", out / "states", out / "figures"
    summary = json.loads((experiment / "summary.json").read_text(encoding="utf-8"))
    curves = {name: np.load(experiment / "logs" / f"{name}_loss_per_epoch.npy") for name in ("training", "validation")}
    with Store(out / "haxby.hdf5") as store:
        subject = store.subset("testing")[0]
        description = store.attributes(subject, "bold")
        segments, blocks = store.segments(subject, "bold"), _blocks(store, subject, description.n_samples)
    drawn = {
        "free_energy": plot_free_energy(curves, summary["baselines"], best_epoch=summary["best_epoch"]),
        "state_probabilities": plot_state_probabilities(
            np.load(states / f"{subject}_alpha.npy"),
            description.sampling_frequency,
            segments,
            blocks=blocks,
            title=f"States of a held-out run ({subject}) and what was shown",
        ),
        "covariances": plot_covariances(
            np.load(states / "covariances.npy"), description.channel_names, as_correlations=True
        ),
        "transitions": plot_transition_probabilities(np.load(states / "transition_probabilities.npy")),
    }
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths


def _blocks(store: Any, subject: str, n_samples: int) -> list[str]:
    events = store.events(subject, "bold")
    blocks = ["rest"] * n_samples
    names = events.names["label"]
    for onset, duration, code in zip(events.onset, events.duration, events.labels["label"]):
        blocks[onset : onset + duration] = [names[code]] * int(duration)
    return blocks


def _run(script: str, *arguments: object) -> None:
    words = [str(argument) for argument in arguments]
    print(f"\n$ {script} {' '.join(words)}", flush=True)
    done = subprocess.run([str(SCRIPTS / script), *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _last_words(out: Path, figures: list[Path], seconds: float) -> str:
    training = json.loads((out / "experiments" / "haxby_hmm" / "summary.json").read_text(encoding="utf-8"))
    inferred = json.loads((out / "states" / "summary.json").read_text(encoding="utf-8"))["free_energy"]
    model = training["free_energy"]["validation"]
    rivals = {name.replace("_", " "): values["validation"] for name, values in training["baselines"].items()}
    best = min(rivals, key=rivals.__getitem__)
    verdict = "better" if model < rivals[best] else "no better"
    lines = [
        f"\nDone in {seconds:.0f} s.",
        f"On runs that the HMM has not seen it scores {model:.3f} (validation) and {inferred['testing']:.3f} (testing) "
        f"nats per volume: on validation {verdict} than its best baseline ({best}: {rivals[best]:.3f}).",
        "All runs are of one person: this says how the states carry over to other runs, not to other people.",
        "Look at:",
        *(f"  {path}" for path in figures),
        f"  {out / 'states'} (state probabilities of every run, state_statistics.tsv)",
        f"  {out / 'experiments' / 'haxby_hmm'} (the experiment: model, checkpoint, logs, summary.json)",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
