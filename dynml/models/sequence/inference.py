"""What a trained sequence model says of recordings: one vector per window, and how well each window was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dynml.batches.fixed_windows import FixedWindows
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.files import write_array, write_json
from dynml.models.sequence.objectives.tasks import elementwise_loss
from dynml.models.sequence.settling import check_windows
from dynml.models.sequence.windows import datasets_of, windows_of
from dynml.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynml.models.experiment import Experiment

COLUMNS = ("subject", "window", "segment", "start", "stop", "loss")
SUBSETS = ("training", "validation", "testing")


@torch.no_grad()
def write_inference(
    experiment: Experiment, dataset: MultiSubjectDataset, subset_names: Sequence[str], out_folder: Path
) -> str:
    """Write `<subject>_embeddings.npy` (n_windows, d), `windows.tsv` and `summary.json`.

    Windows are as long as the longest of the training, laid end to end; start and stop are stored rows. An embedding is
    the mean of the states of a window's samples, or the autoencoder's code. Windows that are masked altogether are left
    out.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    subset_names : sequence of str
    out_folder : Path
        Exists.

    Returns
    -------
    str
        A line that says what was written.
    """
    model: Any = experiment.model
    length = window_length_of(experiment.parameters, dataset, subset_names)
    rows: list[tuple[Any, ...]] = []
    sums: dict[str, np.ndarray] = {}
    score: dict[str, float | None] = dict.fromkeys(SUBSETS)
    for name in subset_names:
        subset = dataset.subset(name)
        if not subset.n_subjects:
            continue
        check_windows(model.config, length, float(subset.sampling_frequencies.min()))
        embeddings: dict[int, list[np.ndarray]] = {number: [] for number in range(subset.n_subjects)}
        for batch in FixedWindows(dataset, length)(name):
            windows = windows_of(batch)
            task = model.task_of(windows, batch.subject, datasets_of(batch))
            costs_BTC = elementwise_loss(model(task).predicted_BTC.float(), task.windows.signals_BTC, model.config)
            scored_BTC = task.scored.expand_as(costs_BTC)
            totals_B = torch.where(scored_BTC, costs_BTC, 0.0).double().sum(dim=(1, 2)).cpu().numpy()
            counts_B = scored_BTC.double().sum(dim=(1, 2)).cpu().numpy()
            vectors_Bd = model.pooled(windows, "mean").float().cpu().numpy()
            is_known_B = windows.known_BT.any(dim=1).tolist()
            for span, total, count, vector_d, is_known in zip(batch.spans, totals_B, counts_B, vectors_Bd, is_known_B):
                if not is_known:
                    continue
                subject = subset.subjects[span.subject]
                loss = total / count if count else float("nan")
                rows.append((subject, len(embeddings[span.subject]), span.segment, span.start, span.stop, loss))
                embeddings[span.subject].append(vector_d)
                sums[subject] = sums.get(subject, np.zeros(2)) + np.array([total, count])
        for number, vectors in embeddings.items():
            write_array(out_folder / f"{subset.subjects[number]}_embeddings.npy", np.array(vectors, dtype=np.float32))
        total, count = sum((sums[subject] for subject in subset.subjects if subject in sums), np.zeros(2))
        score[name] = float(total / count) if count else None
    each = {subject: float(total / count) if count else None for subject, (total, count) in sums.items()}
    numbered = ([*columns, f"{loss:.6g}"] for *columns, loss in rows)
    write_table(out_folder / "windows.tsv", COLUMNS, numbered, durable=False)
    content = {
        "results": "predictions",
        "experiment": experiment.name,
        "weights": experiment.weights,
        "model_sha256": experiment.sha256,
        "other_preparation": experiment.other_preparation,
        "loss": model.config.loss,
        "window_length": length,
        "split": dataset.split,
        "subsets": {name: list(dataset.subset(name).subjects) for name in subset_names},
    }
    write_json(out_folder / "summary.json", {"score": {**score, "subjects": each}, **content})
    return f"{len(sums)} subjects, {len(rows)} windows of {length} samples embedded ({dataset.split})."


def window_length_of(parameters: dict[str, Any], dataset: MultiSubjectDataset, subset_names: Sequence[str]) -> int:
    """Samples of the longest window that a model was trained on, or of the longest segment for whole segments."""
    length = (parameters.get("sampler") or {}).get("window_length")
    if length is None:
        return max(int(dataset.subset(name).segments.lengths.max(initial=1)) for name in subset_names)
    return int(length[1] if isinstance(length, list) else length)
