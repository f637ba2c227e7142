"""Objects that the page of the API lists: all that packages name as public, and what the guide imports from others."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

PUBLIC = "__all__"
"""All names that the package itself calls public, but for those of sections before."""
SECTIONS = {
    "Estimators": {
        "dynml": "HMM DyNeMo CSM Decoder DecoderRegressor",
    },
    "Data, sampler, loader, trainer": {
        "dynml": PUBLIC,
    },
    "Experiments and models": {
        "dynml.models.experiment": "Experiment",
        "dynml.models.inferred": "InferredSubject",
        "dynml.models.registry": "Family get_family family_names",
        "dynml.models.dynemo.inference": "mixed_moments infer",
        "dynml.models.dynemo.fine_tuning": "fine_tuned",
        "dynml.models.stored_runs": "stored_runs",
        "dynml.models.sequence.trainer": "SequenceTrainer",
        "dynml.models.sequence.settling": "settled_model",
        "dynml.models.sequence.objectives.csm": "Csm",
        "dynml.models.sequence.config": "CsmConfig",
        "dynml.models.sequence.features.pieces": "Cut pieces_of_subset",
        "dynml.models.sequence.features.extraction": "embeddings_of",
        "dynml.models.sequence.features.attribution": "attribution_maps",
        "dynml.training.model_summary": "model_summary",
        "dynml.training.processes": "join_processes leave_processes",
        "dynml.training.loggers.config": "CometConfig TensorBoardConfig",
        "dynml.training.loggers.comet_logger": "CometLogger",
        "dynml.batches.batch": "Batch",
        "dynml.dataset.subset": "MultiSubjectSubset",
    },
    "Stores": {
        "dynml.store.reading": "Store",
        "dynml.store.verification": "faults_of_store",
        "dynml.store.fits": "read_fit",
        "dynml.conversion.creation": "create_store",
        "dynml.conversion.extension": "add_subjects apply_preparation",
        "dynml.datasets": "write_haxby2001_ready_folder haxby2001_arrays haxby2001_files write_example_files",
    },
    "Readers and preparation steps": {
        "dynml.readers": PUBLIC,
        "dynml.readers.guard": "guarded",
        "dynml.preparation.step": "PreparationStep per_segment",
        "dynml.preparation.fitted.fitted_step": "FittedStep",
        "dynml.configuration": "check_at_least check_positive check_fraction check_choice check_instance",
    },
    "Simulation": {
        "dynml.simulation": PUBLIC,
        "dynml.simulation.filters.switching_var": "one_step_predictions smoothed_states",
        "dynml.simulation.filters.switching_var_hidden": "hidden_sample_predictions",
        "dynml.simulation.filters.switching_var_masked": "masked_means_given_states",
        "dynml.simulation.filters.switching_var_merged": "masked_predictions",
        "dynml.simulation.filters.floor_scores": "mean_absolute_error_at mean_squared_error_at",
    },
    "Matching and comparison": {
        "dynml.ops.matching": (
            "match_paths match_posteriors match_modes match_covariances orders_of_modes orders_of_covariances"
        ),
        "dynml.ops.metrics": (
            "dice_coefficient alpha_correlation pairwise_correlation riemannian_distance "
            "riemannian_distances frobenius_distance rv_coefficient matrix_correlation pairwise_covariances "
            "balanced_accuracy"
        ),
    },
    "Analysis": {
        "dynml.analysis.state_statistics": "lifetime_mean_and_std",
        "dynml.analysis.state_statistics.visits": "all_visits",
        "dynml.analysis.state_statistics.transitions": "transition_counts transition_probabilities",
        "dynml.analysis.state_statistics.soft": "soft_statistics reweighted on_off_levels",
        "dynml.analysis.spectra.static": "amplitude_envelope_correlation sliding_correlations",
        "dynml.analysis.spectra.settings": "Band",
        "dynml.analysis.selection": "average_runs match_runs",
        "dynml.analysis.responses.series": "Onsets SubjectSeries valid_rows",
        "dynml.analysis.responses.epochs": "Window cut_epochs",
        "dynml.analysis.tidy": "write_tidy",
    },
    "Figures": {
        "dynml.plotting": PUBLIC,
        "dynml.plotting.attribution": "plot_attribution_maps",
    },
    "Errors and warnings": {
        "dynml.errors": (
            "DynmlError ConfigurationError DataError DataCorruptionError CheckpointError ResumeRefusedError "
            "NotPositiveDefiniteError NonFiniteLossError EmptyStateWarning DataWarning"
        ),
    },
}
TARGET = Path(__file__).parent / "reference" / "api_objects.rst"


def names_of(module: str, names: str, seen: set[str]) -> list[str]:
    """Give the names of one module that are not on the page yet."""
    chosen = sorted(importlib.import_module(module).__all__) if names == PUBLIC else names.split()
    return [name for name in chosen if name != "__version__" and f"{module}.{name}" not in seen]


def listed() -> Iterator[tuple[str, str, list[str]]]:
    """Give section, module and names, in the order of the page."""
    seen: set[str] = set()
    for section, modules in SECTIONS.items():
        for module, names in modules.items():
            found = names_of(module, names, seen)
            seen |= {f"{module}.{name}" for name in found}
            yield section, module, found


def page() -> str:
    """Write what the page includes."""
    lines, before = [], None
    for section, module, names in listed():
        if section != before:
            lines += [section, "-" * len(section), ""]
        before = section
        lines += [
            f".. currentmodule:: {module}",
            "",
            ".. autosummary::",
            "   :toctree: generated",
            "   :nosignatures:",
            "",
        ]
        lines += [*(f"   {name}" for name in names), ""]
    return "\n".join(lines)


def write() -> None:
    """Write it where Sphinx finds it, only if it has changed."""
    if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page():
        TARGET.write_text(page(), encoding="utf-8")
