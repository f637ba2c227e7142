"""Files that one training batch passes: `python tests/foundation/walk.py` trains three tiny models and prints them."""

import collections
import contextlib
import io
import sys
import tempfile
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = f"{ROOT / 'dynml'}/"
SETTINGS = {
    "hmm": ["--model.n_states", "2", "--sampler.batch_size_training", "200"],
    "csm": ["--sampler.window_length", "50", "--sampler.batch_size_training", "4"],
    "dynemo": [
        *("--model.n_modes", "2", "--model.sequence_length", "50", "--sampler.batch_size_training", "4"),
        *("--initialization.method", "random"),
    ],
}


class _Walked(BaseException):
    """Ends the run; no error that a run would handle."""


def files_of_a_batch(family, hdf5_file, folder):
    """Files of the package, from asking for the second batch to having learnt from it, each with its visits."""
    from dynml.cli.commands.train import parse_training, run_training
    from dynml.models.registry import get_family, load

    visits, trainer = collections.Counter(), load(get_family(family).trainer)
    last, n_learnt, learn = [None], [0], trainer.back_propagation

    def note(frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and name != last[0]:
            last[0] = name
            visits[name.removeprefix(PACKAGE)] += 1

    def learning(self, result):
        learn(self, result)
        n_learnt[0] += 1
        sys.setprofile(note if n_learnt[0] == 1 else None)
        if n_learnt[0] == 2:
            raise _Walked

    arguments = [family, str(folder), f"walk_{family}", str(hdf5_file), "signals"]
    arguments += ["--trainer.progress", "false", "--trainer.device", "cpu"]
    try:
        with (
            mock.patch.object(trainer, "back_propagation", learning),
            mock.patch.object(sys, "argv", ["walk.py", *arguments, *SETTINGS[family]]),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            run_training(parse_training(__doc__))
    except _Walked:
        pass
    finally:
        sys.setprofile(None)
    return visits


def small_store(folder):
    """A store of four simulated subjects, the last one for validation."""
    from dynml.simulation import simulate_hmm
    from dynml.simulation.store import write_simulation

    simulation = simulate_hmm(n_subjects=4, n_samples=400, n_states=2, n_channels=4, seed=1)
    write_simulation(simulation, folder / "walk.hdf5", n_validation_subjects=1)
    return folder / "walk.hdf5"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        store = small_store(Path(place))
        for name in SETTINGS:
            passed = files_of_a_batch(name, store, Path(place))
            print(f"{name}: {len(passed)} files: {', '.join(f'{file} {n}' for file, n in passed.most_common())}")
