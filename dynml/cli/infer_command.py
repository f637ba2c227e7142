"""What dynml_infer_from_model.py does: every subject's states into one folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import CheckpointError

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment


def parse_inference(description: str | None) -> Namespace:
    """Parse the command line of dynml_infer_from_model.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiment_path", metavar="EXPERIMENT_PATH", help="EXPERIMENTS_PATH/EXPERIMENT_NAME")
    parser.add_argument(
        "hdf5_file", metavar="HDF5", help="store to infer from; it needs the channels of the training data"
    )
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder for the results; must not exist or be empty")
    parser.add_argument(
        "--subset", choices=["training", "validation", "testing", "all"], default="all", help="subjects to infer"
    )
    parser.add_argument("--group", type=str, help="group of the store, if not the one of the training")
    parser.add_argument("--use_latest_epoch", action="store_true", help="the latest epoch instead of the best one")
    parser.add_argument("--dual_estimation", action="store_true", help="also each subject's own means and covariances")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, ...")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the results in an existing folder")
    return parser.parse_args()


def run_inference(arguments: Namespace) -> None:
    """Load the model, infer subject by subject, write as it goes, summarize."""
    from dynml.analysis.state_statistics import state_statistics, write_state_statistics
    from dynml.files import write_json
    from dynml.models.experiment import SUBSETS, load_experiment
    from dynml.models.registry import load

    experiment = load_experiment(arguments.experiment_path, latest=arguments.use_latest_epoch, device=arguments.device)
    if experiment.family.inference is None:
        raise CheckpointError(f"The family {experiment.family.name} has no inference.")
    dataset = experiment.open(arguments.hdf5_file, group=arguments.group)
    out = _prepared_folder(Path(arguments.out_folder), force=arguments.force)
    _write_model(experiment, out)
    energies: dict[str, Any] = dict.fromkeys(SUBSETS)
    criteria: dict[str, float] | None = None
    subjects, statistics = {}, {}
    for name in SUBSETS if arguments.subset == "all" else (arguments.subset,):
        log_likelihood, n_samples = 0.0, 0
        for result in load(experiment.family.inference)(experiment.model, dataset.subset(name)):
            _write_subject(result, out, dual=arguments.dual_estimation)
            statistics[result.subject] = state_statistics(result.alpha, result.segments, result.sampling_frequency)
            subjects[result.subject] = result.free_energy
            log_likelihood, n_samples = log_likelihood + result.log_likelihood, n_samples + result.n_samples
        if n_samples:
            energies[name] = -log_likelihood / n_samples
        if n_samples and name == "training":
            criteria = _criteria(experiment, log_likelihood, n_samples)
    write_state_statistics(out / "state_statistics.tsv", statistics)
    summary: dict[str, Any] = {"experiment": str(arguments.experiment_path), "split": dataset.split}
    summary["training_information_criteria"] = criteria
    write_json(out / "summary.json", {"free_energy": {**energies, "subjects": subjects}, **summary})
    print(f"{len(subjects)} subjects inferred ({dataset.split}). Results: {out}")


def _prepared_folder(folder: Path, *, force: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, not a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise CheckpointError(f"The folder {folder} is not empty; give another one, or -f to overwrite.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"The folder {folder} could not be made: {error.strerror}.") from error
    return folder


def _write_model(experiment: Experiment, out: Path) -> None:
    model: Any = experiment.model
    for name, array in model.arrays().items():
        _save(out / f"{name}.npy", array)


def _write_subject(result: Any, out: Path, *, dual: bool) -> None:
    _save(out / f"{result.subject}_alpha.npy", result.alpha)
    _save(out / f"{result.subject}_viterbi.npy", result.states)
    if dual:
        _save(out / f"{result.subject}_means.npy", result.means)
        _save(out / f"{result.subject}_covariances.npy", result.covariances)


def _save(path: Path, array: Any) -> None:
    import numpy as np

    from dynml.files import replacing

    with replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)


def _criteria(experiment: Experiment, log_likelihood: float, n_samples: int) -> dict[str, float]:
    from dynml.analysis.model_selection import information_criteria, n_free_parameters

    model: Any = experiment.model
    config = model.config
    count = n_free_parameters(
        config.n_states,
        model.n_channels,
        learn_means=config.learn_means,
        learn_covariances=config.learn_covariances,
        covariance_type=config.covariance_type,
        learn_transitions=config.learn_transitions,
    )
    return asdict(information_criteria(log_likelihood, count, n_samples))
