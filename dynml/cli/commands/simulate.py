"""What dynml_simulate_data.py does: from the command line to a store whose truth is known."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError
from dynml.reading_files import check_plain_file


@dataclass(frozen=True)
class SimulationKind:
    """One kind of simulation, by dotted names, so that only the chosen one is imported."""

    config: str
    simulate: str
    summary: str


KINDS = {
    "hmm": SimulationKind(
        config="dynml.simulation.kinds.hmm:HMMSimulationConfig",
        simulate="dynml.simulation.kinds.hmm:simulate_hmm",
        summary="hidden Markov model with Gaussian states",
    ),
    "hsmm": SimulationKind(
        config="dynml.simulation.kinds.hsmm:HSMMSimulationConfig",
        simulate="dynml.simulation.kinds.hsmm:simulate_hsmm",
        summary="hidden semi-Markov model, with lifetimes from Gamma distributions",
    ),
    "mixed_sine": SimulationKind(
        config="dynml.simulation.kinds.sine_mixing:MixedSineSimulationConfig",
        simulate="dynml.simulation.kinds.mixed_sine:simulate_mixed_sine",
        summary="soft mixture of Gaussian modes, mixed by sinusoids",
    ),
    "var": SimulationKind(
        config="dynml.simulation.kinds.var:VarSimulationConfig",
        simulate="dynml.simulation.kinds.var:simulate_var",
        summary="autoregression: samples driven by those before them",
    ),
    "switching_var": SimulationKind(
        config="dynml.simulation.kinds.switching_var:SwitchingVarSimulationConfig",
        simulate="dynml.simulation.kinds.switching_var:simulate_switching_var",
        summary="autoregressions that hidden states switch between",
    ),
    "sines": SimulationKind(
        config="dynml.simulation.kinds.sines:SinesSimulationConfig",
        simulate="dynml.simulation.kinds.sines:simulate_sines",
        summary="trials of sines, whose periods depend on the trial's class",
    ),
    "phase_multiplication": SimulationKind(
        config="dynml.simulation.kinds.phase_multiplication:PhaseMultiplicationSimulationConfig",
        simulate="dynml.simulation.kinds.phase_multiplication:simulate_phase_multiplication",
        summary="trials whose class lies in a nonlinear map from sample to sample alone",
    ),
}


def parse_simulation(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line; the settings of the kind named on it are among the options."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    kind = next((argument for argument in given if not argument.startswith("-")), None)
    parser = ScriptParser(description=description)
    summaries = "; ".join(f"{name}: {known.summary}" for name, known in KINDS.items())
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
        parser.add_class_arguments(_load(KINDS[kind].config), as_group=True)
    return parser.parse_args(given)


def run_simulation(arguments: Namespace) -> None:
    """Simulate, write the store and say what is in it."""
    from pathlib import Path

    from dynml.locks.writing import writing_to
    from dynml.simulation.store import write_simulation
    from dynml.store.writing import check_target

    kind = KINDS[arguments.kind]
    config_class = _load(kind.config)
    names = [field.name for field in dataclasses.fields(config_class)]
    config = config_class(**{name: _numbers(name, arguments[name]) for name in names})
    target = Path(arguments.out_hdf5)
    check_target(target, arguments.force)
    with writing_to(target):
        simulation = _load(kind.simulate)(config)
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


def _load(dotted: str) -> Any:
    module, name = dotted.split(":")
    return getattr(importlib.import_module(module), name)


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
