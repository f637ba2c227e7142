"""What dynml_simulate_data.py does: from the command line to a store whose truth is known."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dynml.simulation
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError
from dynml.reading_files import check_plain_file

KINDS = {
    "hmm": ("HMM", "hidden Markov model with Gaussian states"),
    "hsmm": ("HSMM", "hidden semi-Markov model, with lifetimes from Gamma distributions"),
    "mixed_sine": ("MixedSine", "soft mixture of Gaussian modes, mixed by sinusoids"),
    "var": ("Var", "autoregression: samples driven by those before them"),
    "switching_var": ("SwitchingVar", "autoregressions that hidden states switch between"),
    "sines": ("Sines", "trials of sines, whose periods depend on the trial's class"),
    "phase_multiplication": (
        "PhaseMultiplication",
        "trials whose class lies in a nonlinear map from sample to sample alone",
    ),
}
"""Kinds of simulation: what their classes are called, and a summary."""


def parse_simulation(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line; the settings of the kind named on it are among the options."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    kind = next((argument for argument in given if not argument.startswith("-")), None)
    parser = ScriptParser(description=description)
    summaries = "; ".join(f"{name}: {summary}" for name, (_, summary) in KINDS.items())
    parser.add_argument("kind", metavar="KIND", help=f"what to simulate ({summaries})")
    parser.add_argument("out_hdf5", metavar="OUT_HDF5", help="store to write, .hdf5 or .h5")
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing store")
    parser.add_argument("--group", type=str, default="signals", help="name of the signals' group in the store")
    parser.add_argument("--n_validation_subjects", type=int, default=0, help="subjects kept for validation")
    parser.add_argument("--n_testing_subjects", type=int, default=0, help="subjects kept for testing (the last ones)")
    parser.add_argument(
        "--standardize",
        type=bool,
        default=True,
        help="z-score channels over all subjects together, and rescale the ground truth accordingly",
    )
    if kind is not None:
        if kind not in KINDS:
            near = nearest_name(kind, KINDS)
            raise ConfigurationError("KIND", kind, f"a known kind of simulation, in first place{near}")
        parser.add_class_arguments(config_class(kind), as_group=True)
    return parser.parse_args(given)


def run_simulation(arguments: Namespace) -> None:
    """Simulate, write the store and say what is in it."""
    from dynml.locks.writing import writing_to
    from dynml.simulation.store import write_simulation
    from dynml.store.writing import check_target

    config_of_kind = config_class(arguments.kind)
    names = [field.name for field in dataclasses.fields(config_of_kind)]
    config = config_of_kind(**{name: _numbers(name, arguments[name]) for name in names})
    target = Path(arguments.out_hdf5)
    check_target(target, arguments.force)
    with writing_to(target):
        simulation = getattr(dynml.simulation, f"simulate_{arguments.kind}")(config)
        if arguments.standardize:
            simulation = simulation.standardize()
        subsets = write_simulation(
            simulation,
            target,
            group=arguments.group,
            n_validation_subjects=arguments.n_validation_subjects,
            n_testing_subjects=arguments.n_testing_subjects,
            overwrite=arguments.force,
        )
    counts = ", ".join(f"{len(subjects)} {subset}" for subset, subjects in subsets.items())
    n_samples = sum(map(len, simulation.time_series))
    print(
        f"{arguments.out_hdf5}: {config.n_subjects} subjects ({counts}), {n_samples} samples in all, "
        f"{config.n_channels} channels in group {arguments.group}; the truth is beside them in /truth."
    )


def config_class(kind: str) -> Any:
    """Settings of a kind of simulation; only its own modules are imported."""
    return getattr(dynml.simulation, f"{KINDS[kind][0]}SimulationConfig")


def _numbers(name: str, value: Any) -> Any:
    """Give the array in a .npy file where its path is given; anything else as it is."""
    if not isinstance(value, str) or not value.endswith(".npy"):
        return value
    import numpy as np

    try:
        check_plain_file(Path(value))
        return np.load(value, allow_pickle=False)
    except Exception as error:  # numpy parses the header as text, with whatever that raises, and believes its sizes
        raise ConfigurationError(name, value, f"the path of a readable .npy file ({error})") from error
