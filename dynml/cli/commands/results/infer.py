"""What dynml_infer_from_model.py does: every subject's states into one folder."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.model_options import (
    add_group,
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
from dynml.cli.verbosity import say
from dynml.errors import CheckpointError, ConfigurationError
from dynml.files import write_array

N_ASKED_FOR_EVENTS = 3

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.inferred import InferredSubject


def parse_inference(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line of dynml_infer_from_model.py."""
    parser = ScriptParser(description=description)
    add_paths(parser)
    add_out_folder(parser)
    add_subset(parser)
    add_group(parser)
    parser.add_argument(
        "--dual_estimation",
        action="store_true",
        help="also estimate each subject's own means and covariances",
    )
    parser.add_argument(
        "--alpha_format",
        nargs="+",
        choices=["npy", "tsv", "mat"],
        default=["npy"],
        help="further formats of alpha; <subject>_alpha.npy is always written",
    )
    parser.add_argument("--save_fif", action="store_true", help="also write alpha of each run as MNE Raw (.fif)")
    parser.add_argument(
        "--bids",
        metavar="OUT",
        type=str,
        help="also write all results as a BIDS derivative into this folder",
    )
    parser.add_argument(
        "--statistics_window",
        metavar="SECONDS",
        type=float,
        help="window length of windows.tsv; default: 10, but at least 50 samples",
    )
    parser.add_argument(
        "--binarise",
        choices=["argmax", "percentile", "mixture"],
        help="also write a table of visits: where alpha is the largest, above a percentile, or in the upper of two "
        "Gaussians",
    )
    parser.add_argument(
        "--over_time",
        action="store_true",
        help="decoders of classes: also decode each sample of a trial, with generalization over time",
    )
    parser.add_argument(
        "--percentile",
        type=float,
        default=90.0,
        help="percentile of each subject's alpha, for --binarise percentile",
    )
    add_model_options(parser)
    return parser.parse_args(arguments)


def run_inference(arguments: Namespace) -> None:
    """Load the model, infer subject by subject, write as it goes, summarize."""
    experiment = experiment_given(arguments)
    family = experiment.family
    if not family.can_be_inferred_from:
        raise CheckpointError(f"The family {family.name} has no inference.")
    _check(arguments)
    for name in ("dual_estimation", "save_fif", "bids", "binarise", "statistics_window"):
        if arguments[name] and family.inference is None:
            raise ConfigurationError(f"--{name}", arguments[name], f"absent for the family {family.name}")
    if arguments.over_time and family.decode is None:
        raise ConfigurationError("--over_time", True, f"absent for the family {family.name}")
    if set(arguments.alpha_format) != {"npy"} and family.inference is None:
        raise ConfigurationError("--alpha_format", arguments.alpha_format, f"absent for the family {family.name}")
    dataset = dataset_given(experiment, arguments, arguments.group)
    names = subsets_given(arguments, dataset)
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out, _derivative(arguments) as bids:
        print(f"{_written(experiment, dataset, names, arguments, out, bids)} Results: {out}")
        for command in _next_commands(arguments, experiment, dataset):
            say(f"Next: {shlex.join(command)}")


def _next_commands(arguments: Namespace, experiment: Experiment, dataset: MultiSubjectDataset) -> list[list[str]]:
    """What to do with a model and its results; the report stands last, which takes in all of them."""
    from dynml.cli.outputs.series import kind_of_values
    from dynml.report.results import is_results_folder

    has_components, has_values = experiment.family.inference is not None, True
    try:
        kind_of_values(experiment, "auto")
    except CheckpointError:
        has_values = False
    given, out = [arguments.experiment_path, arguments.hdf5_file], arguments.out_folder
    of_components = [[f"dynml_compute_{what}.py", *given, f"{out}_{what}"] for what in ("spectra", "maps")]
    column = _column_of_events(dataset)
    responses = ["dynml_compute_responses.py", *given, f"{out}_responses", "--events", column or ""]
    page = [arguments.experiment_path, "report.html", "--hdf5", arguments.hdf5_file]
    # The page cannot read what a family of another package writes in a form of its own.
    page += ["--results", out] if is_results_folder(out) else []
    of_events = [responses] if has_values and column else []
    return [*(of_components if has_components else []), *of_events, ["dynml_report.py", *page]]


def _column_of_events(dataset: MultiSubjectDataset) -> str | None:
    """Column of the fewest labels (at least two) of a subject with events; None where none of the first few has any."""
    for subject in dataset.subjects[:N_ASKED_FOR_EVENTS]:  # all of thousands take long for a proposal
        events = dataset.signal_source.events(subject, dataset.group)
        if events is not None and events.labels:
            n_labels = {column: len(names) for column, names in events.names.items()}
            return min(n_labels, key=lambda column: (n_labels[column] < 2, n_labels[column]))
    return None


def _derivative(arguments: Namespace) -> contextlib.AbstractContextManager[Path | None]:
    """The folder of the BIDS derivative, made and locked; None where nobody asked for one."""
    if arguments.bids is None:
        return contextlib.nullcontext()
    folder, out = Path(arguments.bids), Path(arguments.out_folder)
    if folder.resolve() == out.resolve():
        raise ConfigurationError("--bids", arguments.bids, "another folder than OUT_FOLDER")
    return output_folder(folder, force=arguments.force)


def _check(arguments: Namespace) -> None:
    if arguments.statistics_window is not None and not arguments.statistics_window > 0:
        raise ConfigurationError("--statistics_window", arguments.statistics_window, "a number of seconds above 0")
    if not 0 < arguments.percentile < 100:
        raise ConfigurationError("--percentile", arguments.percentile, "a number between 0 and 100")


def _written(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    names: Sequence[str],
    arguments: Namespace,
    out: Path,
    bids: Path | None,
) -> str:
    """Write what the family can say of the data, and give a line on it."""
    from dynml.cli.outputs.decoding import write_decoding
    from dynml.models.registry import load

    family = experiment.family
    if family.write_inference is not None:
        return str(load(family.write_inference)(experiment, dataset, names, out))
    if family.decode is not None:
        return write_decoding(experiment, dataset, names, out, over_time=bool(arguments.over_time))
    return _write_inference(experiment, dataset, names, arguments, out, bids)


def _write_inference(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    names: Sequence[str],
    arguments: Namespace,
    out: Path,
    bids: Path | None,
) -> str:
    from dynml.analysis.tidy import KIND
    from dynml.cli.outputs.other_forms import OtherForms
    from dynml.cli.outputs.statistics import StatisticsTables
    from dynml.files import write_json
    from dynml.models.experiment import SUBSETS
    from dynml.models.inferred import inferred_subjects
    from dynml.models.reference import findings_of, percentile_among
    from dynml.models.seen_subjects import is_training_data, seen_before
    from dynml.training.data.subject_differences import Occupancies

    _write_model(experiment, out)
    trained = experiment.parameters["dataset"]
    seen = {name: seen_before(trained, dataset, name) for name in names}
    energies: dict[str, Any] = dict.fromkeys(SUBSETS)
    at_mean: dict[str, Any] = dict.fromkeys(SUBSETS)
    criteria: dict[str, float] | None = None
    subjects = {}
    forms = OtherForms(experiment, dataset, out, bids, formats=arguments.alpha_format, fif=arguments.save_fif)
    tables = StatisticsTables(
        out,
        covariances=_covariances_of_signals(experiment, dataset),
        window_seconds=arguments.statistics_window,
        binarise=arguments.binarise,
        percentile=arguments.percentile,
    )
    occupancies = Occupancies(experiment.family.components)
    for name in names:
        total = _Total()
        subset, dual = dataset.subset(name), bool(arguments.dual_estimation)
        results = inferred_subjects(experiment.family, experiment.model, subset, dual_estimation=dual)
        for index, result in enumerate(results):
            _write_subject(result, out, dual=dual)
            forms.add(result)
            tables.add(result)
            subjects[result.subject] = result.free_energy
            occupancies.add_subject(subset, index, result.alpha)
            total.add(result)
        energies[name], at_mean[name] = total.free_energy, total.free_energy_at_mean
        if total.n_samples and name == "training" and is_training_data(trained, dataset):
            criteria = _criteria(experiment, total.log_likelihood, total.n_samples)
    forms.finish(tables.write())
    summary: dict[str, Any] = {
        KIND: "inference",
        "experiment": str(arguments.experiment_path),
        "weights": experiment.weights,
        "model_sha256": experiment.sha256,
        "split": dataset.split,
        "subsets": {name: list(dataset.subset(name).subjects) for name in names},
        "left_out": dataset.left_out,
        "subjects_seen_in_training": seen,
        "other_preparation": experiment.other_preparation,
        "dual_estimation": bool(arguments.dual_estimation),
    }
    if criteria is not None:
        summary["training_information_criteria"] = criteria
    if any(value is not None for value in at_mean.values()):
        summary["free_energy_at_mean"] = at_mean
    component = experiment.family.components.removesuffix("s")
    summary |= {**occupancies.summary(), "findings": [*occupancies.findings(), *tables.findings(component)]}
    reference = (experiment.parameters.get("reference") or {}).get("free_energy")
    if reference is not None:
        percentiles = {name: percentile_among(reference, energy) for name, energy in subjects.items()}
        summary["free_energy_percentiles"] = percentiles
        summary["findings"] = [*summary["findings"], *findings_of(reference, percentiles)]
    write_json(out / "summary.json", {"free_energy": {**energies, "subjects": subjects}, **summary})
    for finding in summary["findings"]:
        print(f"Note: {finding}")
    return f"{len(subjects)} subjects inferred ({dataset.split})."


def _covariances_of_signals(experiment: Experiment, dataset: MultiSubjectDataset) -> Any:
    """Covariances (K, C, C) of the signals; None where the model sees components, whose traces say nothing of them."""
    from dynml.models.inferred import ModelWithArrays

    steps = str(dataset.preparation.get("steps"))
    if not isinstance(experiment.model, ModelWithArrays) or dataset.embedding is not None or "pca" in steps:
        return None
    covariances = experiment.model.arrays().get("covariances")
    return covariances if covariances is not None and covariances.ndim == 3 else None


@dataclass
class _Total:
    """Sums over the subjects of a subset."""

    log_likelihood: float = 0.0
    n_samples: int = 0
    at_mean: float | None = None

    def add(self, result: InferredSubject) -> None:
        self.log_likelihood += result.log_likelihood
        self.n_samples += result.n_samples
        if result.free_energy_at_mean is not None:
            self.at_mean = (self.at_mean or 0.0) + result.free_energy_at_mean * result.n_samples

    @property
    def free_energy(self) -> float | None:
        return -self.log_likelihood / self.n_samples if self.n_samples else None

    @property
    def free_energy_at_mean(self) -> float | None:
        return None if self.at_mean is None else self.at_mean / self.n_samples


def _write_model(experiment: Experiment, out: Path) -> None:
    from dynml.models.inferred import ModelWithArrays

    if isinstance(experiment.model, ModelWithArrays):
        for name, array in experiment.model.arrays().items():
            write_array(out / f"{name}.npy", array)


def _write_subject(result: InferredSubject, out: Path, *, dual: bool) -> None:
    if dual and (result.means is None or result.covariances is None):
        accepted = "absent for a family whose inference gives no means and covariances of a subject's own"
        raise ConfigurationError("--dual_estimation", True, accepted)
    write_array(out / f"{result.subject}_alpha.npy", result.alpha)
    if result.observed is None:
        (out / f"{result.subject}_observed.npy").unlink(missing_ok=True)  # of an earlier run with --force
    else:
        write_array(out / f"{result.subject}_observed.npy", result.observed)
    if result.states is not None:
        write_array(out / f"{result.subject}_viterbi.npy", result.states)
    if dual:
        write_array(out / f"{result.subject}_means.npy", result.means)
        write_array(out / f"{result.subject}_covariances.npy", result.covariances)


def _criteria(experiment: Experiment, log_likelihood: float, n_samples: int) -> dict[str, float] | None:
    """AIC and BIC, for a family that counts its parameters."""
    if experiment.family.n_free_parameters is None:
        return None
    from dynml.analysis.model_selection import information_criteria
    from dynml.models.registry import load

    count = load(experiment.family.n_free_parameters)(experiment.model)
    return asdict(information_criteria(log_likelihood, count, n_samples))
