"""Whether a run learns from data that were prepared as those of the experiment that it starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.embedding import Embedding
from dynml.dataset.preparation_comparison import check_same_preparation
from dynml.training.checkpoints.experiment_folder import ExperimentFolder


def check_data_of_pretrained(
    path: str | Path,
    data: MultiSubjectDataset,
    other_preparation: str,
    *,
    same_channels: bool = True,
    same_embedding: bool = True,
) -> None:
    """Compare a run's data with the training data of the experiment whose weights it takes over.

    Parameters
    ----------
    path : str or Path
        The experiment.
    data : MultiSubjectDataset
    other_preparation : {"refuse", "allow"}
    same_channels : bool
        False where the part of the model that reads the channels is learnt anew.
    same_embedding : bool
        False where the model embeds the channels itself.

    Raises
    ------
    CheckpointError
        When there is no model there.
    DataError
        With every difference, where they are refused.
    """
    folder = ExperimentFolder.at(path)
    _, parameters = folder.load_model()
    trained = parameters.get("dataset") or {}
    further: list[str] = []
    if same_channels and same_embedding and "n_channels" in trained:
        described = trained.get("embedding")
        saved = None if described is None else Embedding.from_saved(described, folder.load_input_transform())
        further = list(_of_embeddings(saved, data.embedding))
    check_same_preparation(
        trained,
        data,
        str(path),
        other_preparation=other_preparation,
        same_channels=same_channels,
        further=further,
    )


def _of_embeddings(before: Embedding | None, now: Embedding | None) -> Iterator[str]:
    """In what two embeddings on the fly differ: settings first, then what they were fitted to."""
    if before is None and now is None:
        return
    old, new = ({} if one is None else one.describe() for one in (before, now))
    found = False
    for key in ("n_embeddings", "n_components", "whiten", "standardize"):
        if (old.get(key) or None) != (new.get(key) or None):
            found = True
            yield f"dataset.{key} is {old.get(key)!r} in the training data and {new.get(key)!r} here"
    if not found and before is not None and now is not None and not before.is_like(now):
        variances = [one.get("explained_variance") or 0.0 for one in (old, new)]
        yield (
            "the components of dataset.n_components were fitted to other signals (they explain "
            f"{variances[0]:.6f} of the variance in the training data and {variances[1]:.6f} here)"
        )
