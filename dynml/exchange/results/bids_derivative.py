"""Results as a BIDS derivative: one series of alpha a run, beside what its entities say, and tables of the group.

The specification has no `timeseries` in derivatives yet; the files are called as XCP-D calls them, and stand in
`.bidsignore`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dynml.errors import DataError
from dynml.exchange.results.alpha_files import alpha_table
from dynml.files import ODD_BYTES, made_folder, replacing, write_json
from dynml.models.inferred import InferredSubject
from dynml.models.stored_runs import StoredRun
from dynml.version import __version__

BIDS_VERSION = "1.10.0"
DATA_TYPES = ("func", "meg", "eeg", "ieeg", "nirs", "pet", "perf")
ENTITY = re.compile(r"(?:^|_)([a-z]+)-([a-zA-Z0-9+]+)")


@dataclass(frozen=True)
class DerivativeModel:
    """What all files are of."""

    label: str
    """Of the entity desc, letters and figures."""
    component: str
    """state, mode."""
    description: str
    """In one sentence."""
    sha256: str
    """Of the model's weights."""


class BidsDerivative:
    """Writes subjects as they come into a folder.

    Parameters
    ----------
    folder : Path
        Exists.
    model : DerivativeModel
    """

    def __init__(self, folder: Path, model: DerivativeModel) -> None:
        self._folder, self._model = folder, model
        self._written: dict[Path, str] = {}

    def add(self, result: InferredSubject, runs: Sequence[StoredRun]) -> None:
        """Write the series of each run of a subject.

        Raises
        ------
        DataError
            When two runs come to the same name.
        """
        alpha = result.observed_alpha
        for number, run in enumerate(runs, start=1):
            path = self._folder / self._path(result.subject, run, number if len(runs) > 1 else None)
            if path in self._written:
                raise DataError(
                    f"Runs of {self._written[path]} and {result.subject} have the same BIDS entities ({path.name}): "
                    "name subjects or files so that entities tell them apart."
                )
            self._written[path] = result.subject
            made_folder(path.parent)
            _write(path, alpha_table(alpha[run.start : run.stop], self._model.component))
            write_json(path.with_suffix(".json"), self._sidecar(run, alpha.shape[1]))

    def finish(self, tables: Sequence[Path]) -> None:
        """Write what describes the dataset, and copy tables with their sidecars.

        Parameters
        ----------
        tables : sequence of Path
            `.tsv` files; those that do not exist are left out.
        """
        model, stem = self._model, f"desc-{self._model.label}"
        description = {
            "Name": f"dynml: {model.description}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "dynml", "Version": __version__, "Description": model.description}],
        }
        write_json(self._folder / "dataset_description.json", description)
        _write(self._folder / "descriptions.tsv", f"desc_id\tdescription\n{stem}\t{model.description}\n")
        _write(self._folder / ".bidsignore", f"*_timeseries.*\n{stem}_*\n")
        _write(self._folder / "README.md", README.format(component=model.component, description=model.description))
        for table in tables:
            suffix = table.stem.replace("_", "")
            for ending in (".tsv", ".json"):
                if table.with_suffix(ending).exists():
                    text = table.with_suffix(ending).read_text(encoding="utf-8")
                    _write(self._folder / f"{stem}_{suffix}{ending}", text)

    def _path(self, subject: str, run: StoredRun, number: int | None) -> Path:
        """Place of a run by the entities of its file, or by those of the subject's name."""
        name = "" if run.source is None else PurePosixPath(run.source.file).name
        entities = dict(ENTITY.findall(name.split(".")[0]))
        if "sub" not in entities:
            entities = _entities_of_name(subject) | entities
            if number is not None and "run" not in entities:
                entities["run"] = str(number)
        entities.pop("desc", None)
        parents = () if run.source is None else PurePosixPath(run.source.file).parts[:-1]
        data_type = next((part for part in reversed(parents) if part in DATA_TYPES), _type_of(name))
        session = [f"ses-{entities['ses']}"] if "ses" in entities else []
        folder = Path(f"sub-{entities['sub']}", *session, *([data_type] if data_type else []))
        stem = "_".join(f"{key}-{value}" for key, value in _in_order(entities).items())
        return folder / f"{stem}_desc-{self._model.label}_timeseries.tsv"

    def _sidecar(self, run: StoredRun, n_components: int) -> dict[str, Any]:
        word = self._model.component
        columns = {
            f"{word}-{number}": {"Description": f"{DESCRIPTIONS.get(word, 'Value of')} {word} {number}", "Units": "1"}
            for number in range(1, n_components + 1)
        }
        sources = {} if run.source is None else {"Sources": [run.source.file], "SourcesSHA256": [run.source.sha256]}
        return {
            "SamplingFrequency": run.sampling_frequency,
            "StartTime": run.start_time,
            "Description": self._model.description,
            **sources,
            "ModelSHA256": self._model.sha256,
            **columns,
        }


DESCRIPTIONS = {"state": "Probability, given the whole recording, of", "mode": "Mixing coefficient of"}
README = """# {description}

Time series by dynml, one file per run: one row per sample, one column per {component}; n/a where nothing was observed.
The time of a row in the source is `StartTime` + row / `SamplingFrequency` seconds. Files whose sources have no BIDS
names are in the subject's folder, without a data type.
"""


def _in_order(entities: dict[str, str]) -> dict[str, str]:
    """Subject and session first; the others keep their order."""
    first = {key: entities[key] for key in ("sub", "ses") if key in entities}
    return first | entities


def _entities_of_name(subject: str) -> dict[str, str]:
    """Entities in a subject's name, such as sub-04_ses-1, or its letters and figures as the subject."""
    found = dict(ENTITY.findall(subject))
    if "sub" not in found:
        found = {"sub": re.sub(r"[^a-zA-Z0-9]", "", subject) or "unnamed"} | found
    return found


def _type_of(name: str) -> str | None:
    """Data type by a file's ending; None where it says nothing."""
    endings = {"func": (".nii", ".nii.gz"), "meg": (".fif", ".fif.gz"), "eeg": (".edf", ".bdf", ".vhdr", ".set")}
    return next((kind for kind, own in endings.items() if name.endswith(own)), None)


def _write(path: Path, text: str) -> None:
    with replacing(path, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ODD_BYTES)
