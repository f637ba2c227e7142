"""Hidden Markov models of osl-dynamics, from the arrays that it saves, as models that new recordings can be given to.

A folder holds `means.npy`, `covs.npy`, `trans_prob.npy`, `initial_state_probs.npy`, and, where recordings are to be
prepared as well, `pca_components.npy`, `template_cov.npy` and `fe.npy`. Its embedding lays samples out channel by
channel, the latest first; here they lie lag by lag, the earliest first.

Shapes: K states, P components, C channels, n embeddings, D lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_positive, config_to_dictionary
from dynml.conversion.stored_preparation import StoredPreparation
from dynml.dataset.preparation_signature import sketch
from dynml.errors import CheckpointError, ConfigurationError, in_one_line
from dynml.exchange.exported.exporting import About, Exported, write_exported
from dynml.files import sha256_of_file
from dynml.fits import Fit, Layout
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.reference import percentiles_of
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.fitted.pca import COMPONENTS, VARIANCES, EmbeddedPrincipalComponents, PrincipalComponents
from dynml.preparation.fitted.sign_alignment import TEMPLATE, SignAlignment
from dynml.preparation.fitted.stored_fits import fits_of
from dynml.preparation.step import PreparationStep
from dynml.preparation.steps.standardize import Standardize
from dynml.reading_files import check_plain_file, is_there
from dynml.store.layout import SUBSET_NAMES

GROUP = "signals"
N_EMBEDDINGS, SAMPLING_FREQUENCY = 15, 250.0
"""What osl-dynamics' users set, and its files do not say."""
MOST_UNEVEN = 0.1
"""Diagonals of a block of an embedding's covariance differ by less than this share of the largest entry."""
_SUMS_TO_ONE = 1e-3
_ASYMMETRY = 1e-3
"""What float32 leaves of a symmetric matrix is less, relative to its largest entry."""
_MODEL, _PREPARATION = ("means", "covs", "trans_prob", "initial_state_probs"), ("pca_components", "template_cov", "fe")


@dataclass(frozen=True, kw_only=True)
class OslHMM:
    """What the files say, in the order of dynml's embedding."""

    parameters: GaussianHMMParameters
    components: NDArray[np.float64] | None
    """(n C, P)"""
    template: NDArray[np.float64] | None
    """Lagged correlations, (n, C, C)."""
    variances: NDArray[np.float64] | None
    """Of the components in the template, (P,)."""
    explained_variance: float | None
    free_energies: NDArray[np.float64] | None
    """Of the published sessions, in nats per sample."""
    n_embeddings: int
    files: dict[str, str]
    """SHA-256 of each."""


def import_osl_hmm(
    folder: Path,
    out: Path,
    *,
    n_embeddings: int = N_EMBEDDINGS,
    sampling_frequency: float = SAMPLING_FREQUENCY,
    channel_names: Sequence[str] | None = None,
    seen: Sequence[str] = (),
) -> OslHMM:
    """Make an exported model of osl-dynamics' arrays: `load_experiment`, inference and preparation take it.

    Parameters
    ----------
    folder : Path
        Holds the arrays.
    out : Path
        Folder to make.
    n_embeddings : int
        Samples side by side, of which the principal components are.
    sampling_frequency : float
        Hz, of the recordings.
    channel_names : sequence of str, optional
        Of the recordings, in their order; by default `channel_0` and so on.
    seen : sequence of str
        Participants that the model was trained on, which no testing subset may hold.

    Raises
    ------
    CheckpointError
        For a file that is missing or damaged, or shapes that do not fit each other; nothing is written then.
    ConfigurationError
        For settings that the arrays are not of.
    """
    check_positive("sampling_frequency", sampling_frequency)
    osl = read_osl_hmm(folder, n_embeddings=n_embeddings)
    names = _names(channel_names, _n_channels(osl))
    preparation = _preparation(osl, Layout(sampling_frequency=sampling_frequency, channel_names=names), out)
    model = _model(osl.parameters)
    further: dict[str, Any] = {"imported": {"from": "osl-dynamics", "files": osl.files}}
    if osl.free_energies is not None:
        further["reference"] = {"free_energy": percentiles_of(osl.free_energies)}
    exported = Exported(
        parameters={
            "family": "hmm",
            "model": config_to_dictionary(model.config),
            "dataset": _dataset(preparation, seen),
        },
        weights=model.state_dict(),
        input_transform={},
        preparation=preparation,
        scores={},
        further=further,
    )
    write_exported(out, exported, About(data="Trained elsewhere, by osl-dynamics."))
    return osl


def read_osl_hmm(folder: Path, *, n_embeddings: int = N_EMBEDDINGS) -> OslHMM:
    """Read and check the arrays.

    Raises
    ------
    CheckpointError
        Names the file and what is wrong with it.
    ConfigurationError
        When the arrays are not of so many embeddings.
    """
    check_at_least("n_embeddings", n_embeddings, 1)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file, but must be the folder of osl-dynamics' arrays (means.npy, ..).")
    arrays = {name: _array(folder / f"{name}.npy") for name in _MODEL}
    arrays |= {name: _array(folder / f"{name}.npy") for name in _PREPARATION if is_there(folder / f"{name}.npy")}
    parameters = _parameters(folder, arrays)
    components, template_cov = arrays.get("pca_components"), arrays.get("template_cov")
    n_components = parameters.means_KC.shape[1]
    if components is None:
        if template_cov is not None:
            raise CheckpointError(f"{folder} has template_cov.npy, but no pca_components.npy, by which it is embedded.")
        n_embeddings = 1
    else:
        _check_shape(folder / "pca_components.npy", components, (None, n_components))
        if n_embeddings % 2 == 0 or len(components) % n_embeddings:
            accepted = f"an odd number that divides the rows of pca_components.npy ({len(components)})"
            raise ConfigurationError("n_embeddings", n_embeddings, accepted)
    variances = share = None
    if components is not None and template_cov is not None:
        _check_shape(folder / "template_cov.npy", template_cov, (len(components), len(components)))
        variances = np.einsum("ip,ij,jp->p", components, template_cov, components)
        share = float(variances.sum() / np.trace(template_cov))
    return OslHMM(
        parameters=parameters,
        components=None if components is None else in_order_of_lags(components, n_embeddings),
        template=None if template_cov is None else lagged_template(template_cov, n_embeddings, folder),
        variances=variances,
        explained_variance=share,
        free_energies=_free_energies(folder, arrays.get("fe")),
        n_embeddings=n_embeddings,
        files={f"{name}.npy": sha256_of_file(folder / f"{name}.npy") for name in arrays},
    )


def in_order_of_lags(components: NDArray[np.float64], n_embeddings: int) -> NDArray[np.float64]:
    """Bring rows (channel by channel, the latest sample first) into the order lag by lag, the earliest first.

    Parameters
    ----------
    components : array, (C n, P)
    n_embeddings : int

    Returns
    -------
    array, (n C, P)
    """
    by_channel = components.reshape(-1, n_embeddings, components.shape[1])
    return np.ascontiguousarray(by_channel[:, ::-1].transpose(1, 0, 2).reshape(components.shape))


def lagged_template(covariance: NDArray[np.float64], n_embeddings: int, folder: Path = Path()) -> NDArray[np.float64]:
    """Lagged correlations of the recording whose embedding has this covariance.

    Parameters
    ----------
    covariance : array, (C n, C n)
        Rows and columns channel by channel, the latest sample first.
    n_embeddings : int
    folder : Path
        For messages.

    Returns
    -------
    array, (n, C, C)
        Entry [d, p, q]: channel p with channel q d samples later.

    Raises
    ------
    ConfigurationError
        When the blocks of the covariance are not those of an embedding of so many samples.
    """
    n_channels = len(covariance) // n_embeddings
    blocks = covariance.reshape(n_channels, n_embeddings, n_channels, n_embeddings).transpose(0, 2, 1, 3)
    lagged = np.empty((n_embeddings, n_channels, n_channels))
    uneven = 0.0
    for lag in range(n_embeddings):
        diagonal = np.diagonal(blocks, offset=-lag, axis1=2, axis2=3)
        lagged[lag] = diagonal.mean(axis=2)
        uneven = max(uneven, float(np.ptp(diagonal, axis=2).max()))
    if uneven > MOST_UNEVEN * np.abs(covariance).max():
        accepted = f"the number of samples that {folder / 'template_cov.npy'} was embedded by"
        raise ConfigurationError("n_embeddings", n_embeddings, accepted)
    deviations = np.sqrt(np.diagonal(lagged[0]))
    return np.asarray(lagged / np.outer(deviations, deviations))


def _parameters(folder: Path, arrays: dict[str, NDArray[np.float64]]) -> GaussianHMMParameters:
    means, covariances = arrays["means"], arrays["covs"]
    _check_shape(folder / "means.npy", means, (None, None))
    n_states, n_components = means.shape
    _check_shape(folder / "covs.npy", covariances, (n_states, n_components, n_components))
    transitions, initial = arrays["trans_prob"], arrays["initial_state_probs"]
    _check_shape(folder / "trans_prob.npy", transitions, (n_states, n_states))
    _check_shape(folder / "initial_state_probs.npy", initial, (n_states,))
    mirrored = covariances.swapaxes(1, 2)
    for state, (covariance, other) in enumerate(zip(covariances, mirrored)):
        if np.abs(covariance - other).max() > _ASYMMETRY * np.abs(covariance).max():
            raise CheckpointError(f"{folder / 'covs.npy'}: the matrix of state {state} is not symmetric.")
    covariances = (covariances + mirrored) / 2
    for state, covariance in enumerate(covariances):
        if np.linalg.eigvalsh(covariance)[0] <= 0:
            raise CheckpointError(f"{folder / 'covs.npy'}: the matrix of state {state} is not positive definite.")
    return GaussianHMMParameters(
        means_KC=torch.from_numpy(means),
        covariances_KCC=torch.from_numpy(np.ascontiguousarray(covariances)),
        initial_probabilities_K=torch.from_numpy(_probabilities(folder / "initial_state_probs.npy", initial)),
        transition_probabilities_KK=torch.from_numpy(_probabilities(folder / "trans_prob.npy", transitions)),
    )


def _probabilities(path: Path, array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities that sum to 1 in float64; the files have them in float32."""
    sums = array.sum(axis=-1, keepdims=True)
    if (array < 0).any() or np.abs(sums - 1).max() > _SUMS_TO_ONE:
        raise CheckpointError(f"{path} must hold probabilities that sum to 1 (in each row).")
    return np.asarray(array / sums)


def _free_energies(folder: Path, array: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if array is not None:
        _check_shape(folder / "fe.npy", array, (None,))
    return array


def _array(path: Path) -> NDArray[np.float64]:
    if is_there(path):
        check_plain_file(path)
    try:
        # Mapped first: a header that claims more than the file has is found before memory is asked for.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else in_one_line(error)
        raise CheckpointError(f"{path} could not be read: {reason}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.size:
        raise CheckpointError(f"{path} must hold an array of real numbers.")
    found = np.array(array, dtype=np.float64)
    if not np.isfinite(found).all():
        raise CheckpointError(f"{path} holds values that are NaN or infinite.")
    return found


def _check_shape(path: Path, array: NDArray[np.float64], expected: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(expected) and all(
        wanted in (None, found) for wanted, found in zip(expected, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise CheckpointError(f"{path} has the shape {array.shape}, but must have ({wanted}).")


def _n_channels(osl: OslHMM) -> int:
    if osl.components is None:
        return int(osl.parameters.means_KC.shape[1])
    return len(osl.components) // osl.n_embeddings


def _names(given: Sequence[str] | None, n_channels: int) -> tuple[str, ...]:
    if given is None:
        return tuple(f"channel_{number}" for number in range(n_channels))
    if len(given) != n_channels or len(set(given)) != n_channels:
        raise ConfigurationError("channel_names", f"{len(set(given))} names", f"{n_channels} names, each once")
    return tuple(given)


def _model(parameters: GaussianHMMParameters) -> GaussianHMM:
    n_states, n_channels = parameters.means_KC.shape
    learn_means = bool((parameters.means_KC != 0).any())
    model = GaussianHMM(HMMConfig(n_states=n_states, learn_means=learn_means), n_channels)
    model.set_parameters(parameters)
    return model


def _preparation(osl: OslHMM, layout: Layout, where: Path) -> StoredPreparation:
    """The chain of osl-dynamics' users: standardize, align signs, embed and project, standardize."""
    steps: list[PreparationStep] = [] if osl.components is None else [Standardize()]
    if osl.template is not None:
        fit = Fit(layout=layout, subjects=(), arrays={TEMPLATE: osl.template}, values={"template_subject": None})
        steps.append(SignAlignment(n_embeddings=osl.n_embeddings, fit=fit))
    after = layout
    if osl.components is not None:
        step = _projection(osl, layout)
        steps.append(step)
        after = step.layout_after(layout)
    section = {
        "type": "timeseries",
        "sampling_frequency": layout.sampling_frequency,
        "standardization": "per_run",
        "channel_names": list(layout.channel_names),
        "preparation": [{"step": step.name, **_settings(step)} for step in steps],
    }
    fits = {name: stored.fit for name, stored in fits_of(steps).items()}
    return StoredPreparation(path=where, config={GROUP: section}, layouts={GROUP: after}, fits={GROUP: fits})


def _projection(osl: OslHMM, layout: Layout) -> PrincipalComponents:
    assert osl.components is not None
    n_components = osl.components.shape[1]
    variances = np.ones(n_components) if osl.variances is None else osl.variances
    fit = Fit(
        layout=layout,
        subjects=(),
        arrays={COMPONENTS: osl.components, VARIANCES: variances},
        values={"explained_variance": osl.explained_variance},
    )
    if osl.n_embeddings == 1:
        return PrincipalComponents(n_components=n_components, fit=fit)
    return EmbeddedPrincipalComponents(n_embeddings=osl.n_embeddings, n_components=n_components, fit=fit)


def _settings(step: PreparationStep) -> dict[str, Any]:
    of_fit = step.settings_of_fit if isinstance(step, FittedStep) else ()
    return {key: value for key, value in step.parameters().items() if key not in of_fit and value is not None}


def _dataset(preparation: StoredPreparation, seen: Sequence[str]) -> dict[str, Any]:
    """Describe the data of a training elsewhere, as far as the files tell."""
    layout, section = preparation.layouts[GROUP], preparation.config[GROUP]
    names, rates = list(layout.channel_names), [layout.sampling_frequency]
    fits = {
        name: {"n_subjects": len(fit.subjects), "arrays": {key: sketch(array) for key, array in fit.arrays.items()}}
        for name, fit in preparation.fits[GROUP].items()
    }
    subjects = {name: list(seen) if name == "training" else [] for name in SUBSET_NAMES}
    return {
        "hdf5_file": None,
        "group": GROUP,
        "n_channels": len(names),
        "channel_names": names,
        "sampling_frequencies": rates,
        "preparation": {
            "of": "store",
            "standardization": section["standardization"],
            "units": None,
            "sampling_frequencies": rates,
            "channel_names": names,
            "steps": section["preparation"],
            "settings": {},
            "fits": fits,
            "files": {},
        },
        "scale": {"standard_deviation": [1.0, 1.0], "mean": [0.0, 0.0]},
        "subsets": {name: {"subjects": listed, "n_subjects": len(listed)} for name, listed in subjects.items()},
    }
