"""Results of inference in the forms of others, as dynml_infer_from_model.py is asked for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.exchange.results.alpha_files import write_alpha
from dynml.exchange.results.bids_derivative import BidsDerivative, DerivativeModel
from dynml.models.mne_raw import save_fif
from dynml.models.stored_runs import stored_runs

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.inferred import InferredSubject


class OtherForms:
    """Takes subjects as they are inferred.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    out : Path
        Folder of the results.
    bids : Path, optional
        Folder of a BIDS derivative.
    formats : sequence of {"npy", "tsv", "mat"}
        Files of alpha; `.npy` is written elsewhere.
    fif : bool
        Write a `.fif` a run.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: MultiSubjectDataset,
        out: Path,
        bids: Path | None,
        *,
        formats: Sequence[str],
        fif: bool,
    ) -> None:
        self._dataset, self._out, self._fif = dataset, out, fif
        self._formats = [one for one in dict.fromkeys(formats) if one != "npy"]
        self._component = experiment.family.components.removesuffix("s")
        self._experiment, self._bids_folder = experiment, bids
        self._bids: BidsDerivative | None = None

    def add(self, result: InferredSubject) -> None:
        """Write the files of a subject."""
        for ending in self._formats:
            write_alpha(result, self._out, ending, self._component)
        if not self._fif and self._bids_folder is None:
            return
        runs = stored_runs(self._dataset.signal_source, self._dataset.group, result.subject)
        if self._bids_folder is not None:
            if self._bids is None:
                self._bids = BidsDerivative(self._bids_folder, self._model(result.alpha.shape[1]))
            self._bids.add(result, runs)
        if self._fif:
            events = self._dataset.signal_source.events(result.subject, self._dataset.group)
            for run in runs:
                middle = f"_{re.sub(r'[^A-Za-z0-9-]+', '-', run.name)}" if len(runs) > 1 else ""
                raw = result.to_mne_raw(run, events=events, component=self._component)
                save_fif(raw, self._out / f"{result.subject}{middle}_alpha_raw.fif")

    def finish(self, tables: Sequence[Path]) -> None:
        """Write what stands once in a derivative."""
        if self._bids is not None:
            self._bids.finish(tables)

    def _model(self, n_components: int) -> DerivativeModel:
        name = re.sub(r"[^A-Za-z0-9]", "", self._experiment.family.name)
        word = self._component
        what = "probabilities" if word == "state" else "mixing coefficients"
        return DerivativeModel(
            label=f"{name}{n_components}",
            component=word,
            description=f"{what.capitalize()} of {n_components} {word}s, of a model of the family {name}",
            sha256=_digest_of_model(self._experiment),
        )


def _digest_of_model(experiment: Experiment) -> str:
    """SHA-256 of all weights, in the order of their names."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(experiment.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
