"""Spectra as files: arrays, tables and pictures.

Shapes: N subjects, C channels, K states or modes, F frequencies.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynml.analysis.spectra.bands import mean_weights, power_weights, weighted
from dynml.analysis.spectra.factorization import SpectralComponents, spectral_components
from dynml.analysis.spectra.findings import Asked
from dynml.analysis.spectra.group import GatheredSpectra
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.errors import DataError
from dynml.files import replacing, write_json
from dynml.plotting.findings.spectra import plot_coherence_spectra, plot_networks, plot_power_spectra
from dynml.plotting.style import save_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

ESTIMATES = ("samples", "mean_visit", "resolution", "independent_estimates", "coherence_floor", "negative_share")


def write_spectra(gathered: GatheredSpectra, asked: Asked, about: dict[str, Any], out: Path) -> list[str]:
    """Write all files of a folder of spectra and give the lines to print."""
    if np.isnan(gathered.power.mean).all():
        raise DataError(f"There is no spectrum: {asked.why_nothing}.")
    components = _components(gathered, asked)
    bands = _band_weights(gathered, asked, components)
    _write_arrays(gathered, asked, components, out / "spectra.npz")
    notes = _notes(gathered, asked)
    _write_tables(gathered, asked, bands, notes, out)
    _draw(gathered, asked, bands, out)
    findings = asked.findings(gathered) + ([] if components is None else components.findings())
    summary = {KIND: "spectra", **about, **notes, "subjects": gathered.subjects, "findings": findings}
    if components is not None:
        summary["spectral_components"] = {
            "n_components": len(components.spectra),
            "explained": components.explained,
            "gain_of_the_last": components.gain,
            "agreement_of_halves": components.agreement,
        }
    write_json(out / "summary.json", summary)
    return [*_lines(gathered, asked), *(f"Note: {finding}" for finding in findings)]


def _components(gathered: GatheredSpectra, asked: Asked) -> SpectralComponents | None:
    if not asked.config.n_components:
        return None
    edges = np.triu_indices(len(asked.channel_names), 1)
    values = gathered.coherence.mean[:, *edges]
    floor = np.repeat(np.nan_to_num(gathered.floor.mean), values.shape[1])
    return spectral_components(values.reshape(-1, values.shape[-1]), asked.config.n_components, floor=floor)


def _band_weights(
    gathered: GatheredSpectra, asked: Asked, components: SpectralComponents | None
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """By name of a band or component: the weights of its power, in Hz, and those of its coherence."""
    frequencies = gathered.frequencies
    weights = {
        band.name: (power_weights(frequencies, band), mean_weights(frequencies, band)) for band in asked.settled.bands
    }
    for number, spectrum in enumerate([] if components is None else components.spectra, 1):
        weights[f"component_{number}"] = (spectrum * np.gradient(frequencies), spectrum / max(spectrum.sum(), 1e-300))
    return weights


def _write_arrays(gathered: GatheredSpectra, asked: Asked, components: SpectralComponents | None, path: Path) -> None:
    bands = asked.settled.bands
    arrays: dict[str, Any] = {
        "frequencies": gathered.frequencies,
        "power": gathered.stacked("power"),
        "subjects": np.array(gathered.subjects),
        "group_power": gathered.power.mean,
        "group_coherence": gathered.coherence.mean,
        "channel_names": np.array(asked.channel_names),
        "band_names": np.array([band.name for band in bands]),
        "bands": np.array([[band.lowest, band.highest] for band in bands]),
        "method": np.array(asked.method),
        **{name: gathered.stacked(name) for name in ESTIMATES},
    }
    if "static_power" in gathered.rows[0]:
        arrays |= {
            "static_power": gathered.stacked("static_power"),
            "group_static_power": gathered.static_power.mean[0],
            "group_static_coherence": gathered.static_coherence.mean[0],
        }
    if components is not None:
        arrays["component_spectra"] = components.spectra
    # The coherences of all subjects are on disk already, and stay there on their way into the archive.
    with replacing(path, durable=False) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.write(gathered.coherence_file, "coherence.npy")
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)


def _notes(gathered: GatheredSpectra, asked: Asked) -> dict[str, Any]:
    """What stands beside every spectrum: in summary.json and in the sidecar of each table."""
    settled = asked.settled
    visits = gathered.stacked("mean_visit")
    samples = np.nan_to_num(gathered.stacked("samples"))
    of_states = [
        {
            "state": state + 1,
            "mean_visit_s": _mean(visits[:, state]),
            "resolution_Hz": _mean(gathered.stacked("resolution")[:, state]),
            "coherence_floor": _number(gathered.floor.mean[state]),
            "samples": float(samples[:, state].sum()),
        }
        for state in range(visits.shape[1])
    ]
    return {
        "method": asked.method,
        "components": asked.components,
        "sampling_frequency_Hz": settled.sampling_frequency,
        "frequency_range_Hz": list(settled.frequency_range),
        "bands_Hz": {band.name: [band.lowest, band.highest] for band in settled.bands},
        "units_of_signals": asked.units,
        "units_of_power": f"{asked.squared_units}/Hz",
        "condition_number": float(np.max(gathered.conditions)),
        **_lengths(asked),
        "states": of_states,
    }


def _lengths(asked: Asked) -> dict[str, Any]:
    settled = asked.settled
    if asked.method == "pairs":
        return {"longest_lag_s": settled.lags / settled.sampling_frequency}
    if asked.method == "model":
        return {}
    window = {"window_length_s": settled.window / settled.sampling_frequency}
    return window if asked.method == "regression" else {**window, "time_half_bandwidth": settled.time_half_bandwidth}


def _write_tables(
    gathered: GatheredSpectra,
    asked: Asked,
    bands: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    notes: dict[str, Any],
    out: Path,
) -> None:
    state = Column("state", f"{asked.component}, counted from 1")
    subject = Column("subject", "Name in the store")
    write_tidy(
        out / "band_power.tsv",
        [
            subject,
            state,
            Column("band", "Range of frequencies, see bands_Hz"),
            Column("channel", "Name of the channel"),
            Column("power", "Power spectral density integrated over the band", asked.squared_units),
        ],
        _rows_of_power(gathered, asked, bands),
        **notes,
    )
    write_tidy(
        out / "networks.tsv",
        [
            state,
            Column("band", "Range of frequencies, see bands_Hz"),
            Column("channel_1", "Name of the channel"),
            Column("channel_2", "Name of the channel"),
            Column("coherence", "Mean magnitude of coherence over the band; mean over subjects", "1"),
        ],
        _rows_of_networks(gathered, asked, bands),
        **notes,
    )
    write_tidy(
        out / "estimates.tsv",
        [
            subject,
            state,
            Column("samples", "Samples that the estimate is worth: sum of squared weights"),
            Column("mean_visit", "Mean duration of a visit", "s"),
            Column("resolution", "Width of the window that the spectrum is smoothed by", "Hz"),
            Column("independent_estimates", "Independent estimates that the spectrum is the mean of"),
            Column("coherence_floor", "Mean coherence that two independent channels would have", "1"),
            Column("negative_share", "Share of the cross spectra that was negative and removed", "1"),
        ],
        _rows_of_estimates(gathered),
        **notes,
    )


def _rows_of_power(
    gathered: GatheredSpectra, asked: Asked, bands: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Iterator[tuple[Any, ...]]:
    for subject, row in zip(gathered.subjects, gathered.rows):
        found = {name: weighted(row["power"], own) for name, (own, _) in bands.items()}
        for state in range(len(row["power"])):
            for name, values in found.items():
                for channel, value in zip(asked.channel_names, values[state]):
                    yield subject, state + 1, name, channel, value


def _rows_of_networks(
    gathered: GatheredSpectra, asked: Asked, bands: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Iterator[tuple[Any, ...]]:
    first, second = np.triu_indices(len(asked.channel_names), 1)
    names = asked.channel_names
    found = {name: weighted(gathered.coherence.mean, own) for name, (_, own) in bands.items()}
    for state in range(len(gathered.coherence.mean)):
        for name, matrices in found.items():
            for one, other in zip(first.tolist(), second.tolist()):
                yield state + 1, name, names[one], names[other], matrices[state, one, other]


def _rows_of_estimates(gathered: GatheredSpectra) -> Iterator[tuple[Any, ...]]:
    for subject, row in zip(gathered.subjects, gathered.rows):
        for state in range(len(row["power"])):
            yield subject, state + 1, *(float(row[name][state]) for name in ESTIMATES)


def _draw(
    gathered: GatheredSpectra,
    asked: Asked,
    bands: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    out: Path,
) -> None:
    names = [f"{asked.component} {state + 1}" for state in range(len(gathered.power.mean))]
    static = gathered.static_power.mean[0] if "static_power" in gathered.rows[0] else None
    resolution = _mean(gathered.stacked("resolution").ravel())
    title = f"{_TITLES[asked.method]}, resolution {resolution:.2g} Hz" if resolution else _TITLES[asked.method]
    band_edges = {band.name: (band.lowest, band.highest) for band in asked.settled.bands}
    figures = {
        "power_spectra": plot_power_spectra(
            gathered.frequencies,
            gathered.stacked("power"),
            group=gathered.power.mean,
            static=static,
            bands=band_edges,
            units=f"{asked.squared_units}/Hz",
            state_names=names,
            title=title,
        )
    }
    if len(asked.channel_names) > 1:
        figures["coherence_spectra"] = plot_coherence_spectra(
            gathered.frequencies,
            gathered.coherence.mean,
            floor=gathered.floor.mean,
            bands=band_edges,
            state_names=names,
            title=title,
        )
        limits = {name: f"{name}\n({low:g} to {high:.3g} Hz)" for name, (low, high) in band_edges.items()}
        matrices = {
            limits.get(name, name.replace("_", " ")): weighted(gathered.coherence.mean, own)
            for name, (_, own) in bands.items()
        }
        figures["coherence_networks"] = plot_networks(
            matrices, asked.channel_names, floor=gathered.floor.mean, state_names=names, title=title
        )
    for name, figure in figures.items():
        for ending in ("png", "svg"):
            save_figure(figure, out / f"{name}.{ending}")


_TITLES = {
    "multitaper": "State-weighted multitaper",
    "pairs": "Pairs of samples that are both in the state",
    "regression": "Regression on the modes' weights",
    "model": "The model's covariances",
}


def _lines(gathered: GatheredSpectra, asked: Asked) -> list[str]:
    """Say in a small table how each state's spectrum is to be read."""
    resolutions, visits = gathered.stacked("resolution"), gathered.stacked("mean_visit")
    lines = [
        f"{len(gathered.subjects)} subjects, {len(asked.channel_names)} channels, method {asked.method}.",
        f"{asked.component:>6}  mean visit (s)  resolution (Hz)  coherence floor",
    ]
    for state in range(visits.shape[1]):
        numbers = (_mean(visits[:, state]), _mean(resolutions[:, state]), _number(gathered.floor.mean[state]))
        visit, resolution, floor = ("n/a" if value is None else f"{value:.3g}" for value in numbers)
        lines.append(f"{state + 1:>6}  {visit:>14}  {resolution:>15}  {floor:>15}")
    return lines


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
