"""One subject's alpha as a table or a .mat file, for programs that do not read .npy."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.files import replacing
from dynml.models.inferred import InferredSubject
from dynml.tables import NOT_AVAILABLE

FORMATS = ("npy", "tsv", "mat")


def alpha_table(alpha: NDArray[np.float32], component: str) -> str:
    """A table with one line per row and one column per state; NaN is n/a."""
    text = io.StringIO()
    text.write("\t".join(f"{component}-{number}" for number in range(1, alpha.shape[1] + 1)) + "\n")
    seen = np.asarray(np.isfinite(alpha).all(axis=1))
    absent = "\t".join([NOT_AVAILABLE] * alpha.shape[1]) + "\n"
    for row, is_seen in zip(alpha, seen.tolist()):
        text.write("\t".join(f"{value:.6g}" for value in row.tolist()) + "\n" if is_seen else absent)
    return text.getvalue()


def write_alpha(result: InferredSubject, folder: Path, ending: str, component: str) -> Path:
    """Write `<subject>_alpha.tsv` or `.mat` (alpha, segments from row 0, observed, sampling_frequency)."""
    path = folder / f"{result.subject}_alpha.{ending}"
    if ending == "tsv":
        with replacing(path, durable=False) as temporary:
            temporary.write_text(alpha_table(result.alpha, component), encoding="utf-8")
        return path
    from scipy.io import savemat

    content = {
        "alpha": result.alpha,
        "segments": result.segments,
        "sampling_frequency": result.sampling_frequency,
        "subject": result.subject,
    }
    if result.observed is not None:
        content["observed"] = result.observed
    with replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
        savemat(stream, content, do_compression=True)
    return path
