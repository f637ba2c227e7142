"""Files that one training batch passes: `python tests/foundation/walk.py` trains three tiny models and prints them."""

import collections
import contextlib
import io
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = f"{ROOT / 'dynml'}/"
SETTINGS = {
    "hmm": ["--model.n_states", "2", "--sampler.batch_size_training", "200"],
    "csm": ["--sampler.window_length", "50", "--sampler.batch_size_training", "4"],
    "dynemo": ["--model.n_modes", "2", "--model.sequence_length", "50", "--initialization.method", "random"],
}


class _Walked(BaseException):
    """Ends the run; no error that a run would handle."""


def files_of_a_batch(family, hdf5_file, folder):
    """Files of the package, from asking for the second batch to having learnt from it, each with its visits."""
    from dynml.cli.commands.train import run_training
    from dynml.cli.commands.training_arguments import parse_training_arguments
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

    arguments = [family, str(folder), f"walk_{family}", str(hdf5_file), "signals", "--trainer.progress", "false"]
    try:
        with mock.patch.object(trainer, "back_propagation", learning), contextlib.redirect_stdout(io.StringIO()):
            run_training(parse_training_arguments([*arguments, *SETTINGS[family]]))
    except _Walked:
        pass
    finally:
        sys.setprofile(None)
    return visits
