"""`dynml demo`: an HMM on real fMRI, from NIfTI images to one page, by the very commands that the README shows.

The recordings (Haxby et al. 2001, one participant, 12 runs) lie inside the package; nothing is downloaded. Nothing is
deleted either: the demo writes into a new or empty folder, or into that of an earlier demo, where it replaces the
store, the inferred states and the figures, and trains under another name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.parsing import ScriptParser
from dynml.cli.shipped import recipe_path, shipped_folder
from dynml.errors import DynmlError

MARK = ".dynml_demo"
"""File by which a later demo knows its folder again."""


def main() -> None:
    """Lay out the recordings, run the scripts, draw the figures, make the report, say where to look and how it went."""
    parser = ScriptParser(description=__doc__)
    parser.add_argument(
        "out_folder",
        metavar="OUT_FOLDER",
        nargs="?",
        default="dynml_demo",
        help="folder for all files of the demo",
    )
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        default="haxby_hmm",
        help="recipe, or YAML file, with the settings of the training",
    )
    arguments = parser.parse_args()
    with user_errors_in_one_sentence(arguments.debug):
        begin = time.monotonic()
        out, recipe = Path(arguments.out_folder), recipe_path(arguments.recipe)
        make_demo_folder(out)
        experiment = run_scripts(out, recipe)
        figures = draw_figures(out, experiment)
        report = make_report(out, experiment)
        print(_last_words(out, experiment, [*figures, report], time.monotonic() - begin))


def make_demo_folder(out: Path) -> None:
    """Make the folder, unless it is that of an earlier demo.

    Raises
    ------
    DynmlError
        When it holds anything else, or cannot be made.
    """
    from dynml.files import made_folder, write_json
    from dynml.version import __version__

    if out.exists() and not out.is_dir():
        raise DynmlError(f"{out} is a file, not a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise DynmlError(f"{out} is not empty and not the folder of an earlier demo; give a new or an empty folder.")
    write_json(made_folder(out) / MARK, {"dynml_version": __version__})


def run_scripts(out: Path, recipe: Path) -> Path:
    """Go from recordings to inferred states, one printed command after the other.

    Returns
    -------
    Path
        The experiment.
    """
    from dynml.datasets import write_haxby2001_ready_folder
    from dynml.files import made_folder

    ready = write_haxby2001_ready_folder(_free(out / "recordings"))
    experiment = _free(made_folder(out / "experiments") / "haxby_hmm")
    store, lists = out / "haxby.hdf5", (ready.training, ready.validation, ready.testing)
    _run("dynml_create_hdf5_dataset.py", ready.subjects_folder, store, ready.config, *lists, *_force(store))
    _run("dynml_hdf5_print_architecture.py", store)
    _run("dynml_train_model.py", "hmm", experiment.parent, experiment.name, store, "bold", "--config", recipe)
    _run("dynml_infer_from_model.py", experiment, store, out / "states", *_force(out / "states"))
    return experiment


def make_report(out: Path, experiment: Path) -> Path:
    """Put everything onto one page."""
    report = out / "report.html"
    _run(
        "dynml_report.py",
        experiment,
        report,
        "--hdf5",
        out / "haxby.hdf5",
        "--results",
        out / "states",
        *_force(report),
    )
    return report


def _free(path: Path) -> Path:
    """The path, or the first of path_2, path_3 .. that is not taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}_{number}")
    return free


def _force(path: Path) -> tuple[str, ...]:
    return ("-f",) if path.exists() else ()


def draw_figures(out: Path, experiment: Path) -> list[Path]:
    """Draw free energy, state probabilities beside the task, covariances and transitions into `out/figures`."""
    import numpy as np

    from dynml.plotting.curves import plot_free_energy
    from dynml.plotting.matrices import plot_covariances, plot_transition_probabilities
    from dynml.plotting.states import plot_state_probabilities
    from dynml.plotting.style import save_figure
    from dynml.store.reading import Store

    states, folder = out / "states", out / "figures"
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
    program = [sys.executable, str(shipped_folder("scripts_python") / script)]
    done = subprocess.run([*program, *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _last_words(out: Path, experiment: Path, figures: list[Path], seconds: float) -> str:
    training = json.loads((experiment / "summary.json").read_text(encoding="utf-8"))
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
        f"  {figures[-1]} (all of it on one page: open it in a browser)",
        *(f"  {path}" for path in figures[:-1]),
        f"  {out / 'states'} (state probabilities of every run, state_statistics.tsv)",
        f"  {experiment} (the experiment: model, checkpoint, logs, summary.json)",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
