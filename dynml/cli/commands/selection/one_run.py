"""What a worker of a selection does: train a run, score it on the people that it has not seen, commit the result."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

from dynml.analysis.selection.ranking import STATIONARY
from dynml.cli.commands.run_request import RunRequest
from dynml.cli.commands.selection.planned_run import ALPHA, ROW, PlannedRun
from dynml.cli.commands.train import trainer_on
from dynml.errors import DataError, DynmlError
from dynml.files import write_json
from dynml.models.registry import Family, load

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.training.trainer import Trainer

MODEL = "model"


def carry_out(run: PlannedRun) -> dict[str, Any]:
    """Train, score and commit one run; goes on with one that was killed.

    Returns
    -------
    dict
        The committed row, or {"failed": one sentence}; in both `warnings`, what was warned of on the way.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            row = _row(run)
        except DynmlError as error:
            row = {"failed": str(error)}
        except Exception as error:  # what one run comes to must not end the others
            row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    row["warnings"] = list(dict.fromkeys(str(one.message) for one in warned if issubclass(one.category, UserWarning)))
    if "failed" not in row:
        write_json(run.folder / ROW, row)
    return row


def _row(run: PlannedRun) -> dict[str, Any]:
    from dynml.training.processes import Processes

    dataset = _dataset_of(run.request)
    if run.part in STATIONARY:
        from dynml.cli.commands.selection.stationary import stationary_like

        dataset = stationary_like(dataset, run)
    trainer = trainer_on(run.request, dataset, processes=Processes())
    summary = trainer.train_and_validate()
    if trainer.interruption.exit_status:
        raise SystemExit(trainer.interruption.exit_status)
    row: dict[str, Any] = {
        "settings": run.settings,
        "seed": run.seed,
        "part": run.part,
        "fold": run.fold,
        "objective": summary.get("best_value"),
        "stopping_reason": summary["stopping_reason"],
        "epochs": summary["epochs"],
        "training": (summary.get("free_energy") or summary.get("score") or {}).get("training"),
        "seconds": sum(value for value in (summary.get("seconds") or {}).values() if value),
        **_criteria(run, trainer, summary),
    }
    scores = _inferred(run, trainer)
    if run.is_scored:
        row["subjects"] = _scores(run, trainer, scores)
    return row


def _dataset_of(request: RunRequest) -> MultiSubjectDataset:
    settings = request.configs
    key = (request.hdf5_file, request.input_group, settings["loader"].residency, settings["trainer"].device)
    return _opened(*key, settings["dataset"])


@functools.lru_cache(maxsize=1)
def _opened(hdf5_file: str, group: str, residency: Any, device: str, config: Any) -> MultiSubjectDataset:
    """Data are read once for all runs of a fold that follow one another, with what is fitted to them."""
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.training.environment import resolve_device

    dataset = MultiSubjectDataset(hdf5_file, residency, group=group, device=resolve_device(device), config=config)
    dataset.load_data()
    return dataset


def _criteria(run: PlannedRun, trainer: Trainer, summary: dict[str, Any]) -> dict[str, Any]:
    """AIC and BIC on the training data, for a family that counts its parameters."""
    from dynml.analysis.model_selection import information_criteria

    count = run.request.family.n_free_parameters
    on_training = (summary.get("free_energy") or {}).get("training")
    if count is None or on_training is None:
        n_parameters = sum(tensor.numel() for tensor in trainer.model.parameters() if tensor.requires_grad)
        return {"n_parameters": n_parameters, "aic": None, "bic": None}
    training = trainer.dataset.training_set
    n_samples = training.n_samples - training.n_masked
    log_likelihood = -on_training * n_samples
    found = information_criteria(log_likelihood, load(count)(trainer.model), n_samples)
    return {"n_parameters": found.n_parameters, "aic": found.aic, "bic": found.bic}


def _inferred(run: PlannedRun, trainer: Trainer) -> dict[str, tuple[float, int]]:
    """Keep the states of those who are scored; free energy and observed samples by subject, for families that infer."""
    import numpy as np

    from dynml.files import replacing
    from dynml.models.inferred import inferred_subjects

    family, scores = run.request.family, dict[str, tuple[float, int]]()
    alphas: dict[str, Any] = {}
    if family.inference is None:
        return scores
    for name in run.scored_subsets:
        for one in inferred_subjects(family, trainer.model.eval(), trainer.dataset.subset(name)):
            scores[one.subject] = (one.free_energy, one.n_samples)
            alpha = one.observed_alpha
            alphas[one.subject] = alpha[~np.isnan(alpha[:, 0])].astype(np.float16)
    with replacing(run.folder / ALPHA) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **alphas)
    return scores


def _of_every_subject(found: Any, family: Family, subjects: list[str]) -> dict[str, dict[str, float]]:
    """Refuse scores of another form than a family's `held_out_scores` is to give, or without the model's own.

    Raises
    ------
    DataError
        Says what they must be.
    """
    form = "{predictor: {subject: value}}" + (f" with {MODEL!r} among the predictors" * (family.inference is None))
    is_of_form = isinstance(found, dict) and all(isinstance(values, dict) for values in found.values())
    if is_of_form and family.inference is None:
        is_of_form = MODEL in found and set(subjects) <= set(found[MODEL])
    if not is_of_form:
        raise DataError(f"held_out_scores of the family {family.name} must give {form}, for every subject.")
    return {name: dict(values) for name, values in found.items()}


def _scores(run: PlannedRun, trainer: Trainer, of_model: dict[str, tuple[float, int]]) -> dict[str, dict[str, Any]]:
    """Score of the model and of its baselines, by held-out subject."""
    import math

    subset = trainer.dataset.testing_set
    family = run.request.family
    assert family.held_out_scores is not None, family.name
    found = _of_every_subject(load(family.held_out_scores)(trainer, subset), family, subset.subjects)
    lengths = {
        name: int(subset.segments.lengths[subset.segments.subject == index].sum())
        for index, name in enumerate(subset.subjects)
    }
    own = of_model or {name: (value, lengths[name]) for name, value in found.pop(MODEL).items()}
    return {
        subject: {
            "participant": trainer.dataset.participant(subject),
            "score": value,
            "n_samples": n_samples,
            "baselines": {
                name: values[subject] for name, values in found.items() if math.isfinite(values.get(subject, math.nan))
            },
        }
        for subject, (value, n_samples) in own.items()
    }
