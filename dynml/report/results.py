"""Folders of results that belong to an experiment: found by their kind, refused if they are of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.analysis.tidy import KIND
from dynml.errors import DataError
from dynml.files import read_json
from dynml.report.experiment import ReportedExperiment

INFERENCE, DECODING, PREDICTIONS = "inference", "decoding", "predictions"
SUMMARY, METRICS = "summary.json", "metrics.json"
MODEL_SHA256 = "model_sha256"


@dataclass(frozen=True)
class ResultsFolder:
    """A folder that a script has written results to."""

    path: Path
    kind: str
    """inference, decoding, spectra, maps, responses, .."""
    summary: dict[str, Any]
    """Content of summary.json; of metrics.json for a decoder."""
    is_kept: bool = True
    """False: the folder is gone once the page is made."""


def find_results(folder: str | Path, experiment: ReportedExperiment) -> list[ResultsFolder]:
    """Find results in a folder and in its subfolders.

    Parameters
    ----------
    folder : str or Path
    experiment : ReportedExperiment
        The one that the results must be of.

    Returns
    -------
    list of ResultsFolder
        At least one; the folder itself first, then its subfolders by name.

    Raises
    ------
    DataError
        When there are none, two of one kind, or some of another experiment.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"The folder of results {root} {'is not a folder' if root.exists() else 'does not exist'}.")
    found = list(_results_in([root, *sorted(path for path in root.iterdir() if path.is_dir())]))
    if not found and experiment.family is not None and experiment.family.write_inference is not None:
        raise DataError(
            f"{root} holds files that only the family {experiment.family.name} can read; leave --results out, or give "
            "results of another script of dynml."
        )
    if not found:
        raise DataError(
            f"{root} holds no results: neither it nor one of its subfolders has a {SUMMARY} or {METRICS} that a script "
            "of dynml wrote, such as dynml_infer_from_model.py."
        )
    _check_kinds(found)
    for one in found:
        _check_is_of(one, experiment)
    return found


def of_kind(results: Sequence[ResultsFolder], kind: str) -> ResultsFolder | None:
    """The folder of a kind, if it is among them."""
    return next((one for one in results if one.kind == kind), None)


def is_results_folder(folder: str | Path) -> bool:
    """Whether a page can show what is in a folder itself."""
    return any(True for _ in _results_in([Path(folder)]))


def _results_in(folders: Sequence[Path]) -> Iterator[ResultsFolder]:
    for folder in folders:
        for name in (SUMMARY, METRICS):
            content = read_json(folder / name) if (folder / name).is_file() else None
            kind = _kind(content) if isinstance(content, dict) else None
            if kind is not None:
                assert content is not None
                yield ResultsFolder(folder, kind, content)
                break


def _kind(content: dict[str, Any]) -> str | None:
    """What a summary is of; those of inference and decoding say it by what they hold."""
    if isinstance(content.get(KIND), str):
        return str(content[KIND])
    if "confusion_matrix" in content:
        return DECODING
    energies = content.get("free_energy")
    return INFERENCE if isinstance(energies, dict) and "subjects" in energies else None


def _check_kinds(found: Sequence[ResultsFolder]) -> None:
    first: dict[str, Path] = {}
    for one in found:
        if one.kind in first:
            raise DataError(
                f"Both {first[one.kind]} and {one.path} hold results of the kind {one.kind}; keep one of them in the "
                "folder of results."
            )
        first[one.kind] = one.path


def _check_is_of(results: ResultsFolder, experiment: ReportedExperiment) -> None:
    """By the digest of the weights; results that do not have it, by the path or the name of the experiment."""
    named, digest = results.summary.get("experiment"), results.summary.get(MODEL_SHA256)
    if digest is not None and results.summary.get("weights") == "best_model":
        is_same = digest == experiment.model_sha256
    elif named is not None:
        path = Path(str(named))
        is_same = path.resolve() == experiment.path or (path.name == experiment.name and not path.exists())
    else:
        is_same = True
    if not is_same:
        other = f"the experiment {named}" if named is not None else "another model"
        raise DataError(
            f"The results in {results.path} are of {other}, not of {experiment.path} as it is now; give results of "
            "this one, or leave --results out."
        )
