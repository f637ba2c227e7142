"""What dynml_compute_spectra.py does: spectra of every subject's states or modes into one folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.model_options import (
    add_model_options,
    add_out_folder,
    add_paths,
    add_subset,
    dataset_given,
    experiment_given,
    subsets_given,
)
from dynml.cli.outputs.folders import output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    from dynml.analysis.spectra.findings import Asked
    from dynml.analysis.spectra.group import GatheredSpectra
    from dynml.analysis.spectra.settings import Method, Settled, SpectraConfig
    from dynml.analysis.spectra.subjects import InferredBeside, Signals
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment


def parse_spectra(description: str | None) -> Namespace:
    """Parse the command line of dynml_compute_spectra.py."""
    from dynml.analysis.spectra.settings import METHODS

    parser = ScriptParser(description=description)
    add_paths(parser, hdf5="store that the model infers from")
    add_out_folder(parser)
    parser.add_argument(
        "--group", type=str, help="group whose spectra are computed; default: the group of --model_group"
    )
    parser.add_argument("--signals_file", type=str, help="store with this group; default: HDF5")
    parser.add_argument(
        "--model_group",
        type=str,
        help="group that the model infers from; default: the group of the training",
    )
    parser.add_argument("--method", choices=list(METHODS), default="auto", help="spectral estimator")
    add_subset(parser)
    parser.add_argument(
        "--bands", nargs="+", type=str, help="bands in Hz, NAME=LOW-HIGH; default: delta, theta, alpha, beta, gamma"
    )
    parser.add_argument(
        "--frequency_range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="Hz; default: 1 45 (0.01 0.5 if sampled below 5 Hz), at most 0.95 of the Nyquist frequency",
    )
    parser.add_argument(
        "--window_length",
        type=float,
        help="seconds; default: 2, regression 0.5 (50 times that if sampled below 5 Hz)",
    )
    parser.add_argument(
        "--time_half_bandwidth",
        type=float,
        help="time-half-bandwidth product of the tapers; default: 4 (2 if sampled below 5 Hz)",
    )
    parser.add_argument(
        "--longest_lag",
        type=float,
        help="method pairs: maximum lag in seconds; default: 1 (50 if sampled below 5 Hz)",
    )
    parser.add_argument(
        "--n_components", type=int, default=0, help="number of spectral components into which coherence is factorized"
    )
    add_model_options(parser)
    return parser.parse_args()


def run_spectra(arguments: Namespace) -> None:
    """Load the model, infer, estimate subject by subject, write."""
    from dynml.analysis.spectra.subjects import signals_beside
    from dynml.store.reading import Store

    config = _config(arguments)
    experiment = experiment_given(arguments)
    if experiment.family.inference is None:
        raise CheckpointError(f"The family {experiment.family.name} gives no states or modes over time.")
    dataset = dataset_given(experiment, arguments, arguments.model_group)
    source = None if arguments.signals_file is None else Store(arguments.signals_file)
    signals = signals_beside(dataset, source, arguments.group)
    config.settled(signals.sampling_frequency, "multitaper")  # what is wrong with it is refused before hours of work
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out:
        if config.method == "model":
            lines = _from_model(experiment, dataset, config, arguments, out)
        else:
            lines = _from_signals(experiment, dataset, signals, config, arguments, out)
        print("\n".join([*lines, f"Results: {out}"]))


def _config(arguments: Namespace) -> SpectraConfig:
    from dynml.analysis.spectra.settings import SpectraConfig, read_bands

    bounds, bands = arguments.frequency_range, arguments.bands
    return SpectraConfig(
        method=arguments.method,
        window_length=arguments.window_length,
        time_half_bandwidth=arguments.time_half_bandwidth,
        longest_lag=arguments.longest_lag,
        frequency_range=None if bounds is None else (bounds[0], bounds[1]),
        bands=None if bands is None else read_bands([band for text in bands for band in text.split(",")]),
        n_components=arguments.n_components,
    )


def _from_signals(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    signals: Signals,
    config: SpectraConfig,
    arguments: Namespace,
    out: Path,
) -> list[str]:
    import tempfile

    from dynml.analysis.spectra.choice import chosen_method
    from dynml.analysis.spectra.findings import Asked
    from dynml.analysis.spectra.group import GatheredSpectra
    from dynml.analysis.spectra.subjects import inferred_beside
    from dynml.cli.outputs.spectra import write_spectra

    names = subsets_given(arguments)
    with inferred_beside(experiment, dataset, signals, names, out) as subjects:
        rate = signals.sampling_frequency
        method = chosen_method(config, experiment.family.components, subjects.visits.values(), rate)
        settled = config.settled(rate, method)
        asked = Asked(
            config=config,
            method=method,
            settled=settled,
            components=experiment.family.components,
            channel_names=signals.channel_names,
            units=signals.units,
        )
        with tempfile.TemporaryDirectory(dir=out, prefix=".spectra-") as temporary:
            gathered = GatheredSpectra(len(subjects.subjects), Path(temporary))
            _gather(gathered, subjects, method, settled, asked)
            about = {**_about(arguments, experiment, dataset), "group": signals.group}
            return write_spectra(gathered, asked, about, out)


def _gather(
    gathered: GatheredSpectra, subjects: InferredBeside, method: Method, settled: Settled, asked: Asked
) -> None:
    from dynml.analysis.spectra.estimation import estimated, static

    for subject in subjects.subjects:
        data = subjects.weighted(subject)
        asked.note_subject(subject, data)
        visits = subjects.visits[subject].mean_seconds(settled.sampling_frequency)
        asked.note_visits(subjects.visits[subject])
        gathered.add(subject, estimated(data, method, settled), estimated(static(data), method, settled), visits)


def _from_model(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    config: SpectraConfig,
    arguments: Namespace,
    out: Path,
) -> list[str]:
    import tempfile

    import numpy as np

    from dynml.analysis.spectra.findings import Asked
    from dynml.analysis.spectra.group import GatheredSpectra
    from dynml.analysis.spectra.model_spectra import model_spectra
    from dynml.cli.outputs.spectra import write_spectra

    if arguments.group is not None or arguments.signals_file is not None:
        raise ConfigurationError("--group", arguments.group, "absent with --method model, which takes no signals")
    settled = config.settled(dataset.sampling_frequency, "model")
    spectra, channel_names = model_spectra(experiment, dataset, settled)
    asked = Asked(
        config=config,
        method="model",
        settled=settled,
        components=experiment.family.components,
        channel_names=channel_names,
        units="arbitrary",
    )
    with tempfile.TemporaryDirectory(dir=out, prefix=".spectra-") as temporary:
        gathered = GatheredSpectra(1, Path(temporary))
        gathered.add("model", spectra, None, np.full(len(spectra.values), np.nan))
        return write_spectra(gathered, asked, _about(arguments, experiment, dataset), out)


def _about(arguments: Namespace, experiment: Experiment, dataset: MultiSubjectDataset) -> dict[str, object]:
    return {
        "experiment": str(arguments.experiment_path),
        "hdf5_file": str(arguments.hdf5_file),
        "signals_file": arguments.signals_file,
        "weights": experiment.weights,
        "model_sha256": experiment.sha256,
        "model_group": dataset.group,
        "split": dataset.split,
        "other_preparation": experiment.other_preparation,
    }
