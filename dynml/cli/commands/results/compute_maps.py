"""What dynml_compute_maps.py does: maps and networks of states, as tables, arrays, images and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.model_options import (
    add_group,
    add_model_options,
    add_out_folder,
    add_paths,
    dataset_given,
    experiment_given,
)
from dynml.cli.outputs.folders import output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from dynml.analysis.maps.found import Found
    from dynml.analysis.maps.spectra_folder import Spectra
    from dynml.analysis.maps.vertices import Mesh
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.geometry.geometry import Geometry
    from dynml.models.experiment import Experiment
    from dynml.store.reading import Store

KINDS = {"means": "mean", "power": "power", "networks": "network"}


def parse_maps(description: str | None) -> Namespace:
    """Parse the command line of dynml_compute_maps.py."""
    parser = ScriptParser(description=description)
    add_paths(parser, hdf5="store that the model was trained on, or one like it")
    add_out_folder(parser)
    parser.add_argument("--spectra", type=str, metavar="FOLDER", help="output folder of dynml_compute_spectra.py")
    parser.add_argument(
        "--bands", nargs="+", metavar="NAME=LOW-HIGH", help="bands of the spectra, Hz; default: those of the folder"
    )
    parser.add_argument(
        "--what",
        nargs="+",
        choices=list(KINDS),
        default=list(KINDS),
        help="what to draw; default: all that is available",
    )
    parser.add_argument(
        "--edges",
        type=str,
        default="mixture",
        metavar="mixture|PERCENTILE",
        help="edges to keep: those of the outer Gaussian of a mixture of two, or those whose size is above a "
        "percentile",
    )
    parser.add_argument(
        "--absolute",
        action="store_true",
        help="draw the values themselves instead of differences from the average over states",
    )
    parser.add_argument("--surface", action="store_true", help="also draw maps of atlases on the cortical surface")
    parser.add_argument(
        "--meshes",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="cortical surfaces (GIFTI, .surf.gii) to draw CIFTI channels on, with the same vertices",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of the mixture")
    add_group(parser)
    parser.add_argument("--atlas", type=str, help="atlas to draw on, if the store has none")
    parser.add_argument("--atlas_labels", type=str, help="names of its labels (.tsv or .json)")
    parser.add_argument(
        "--space",
        choices=["standard", "native"],
        help="whether positions are in a standard space (MNI); default: as in the store",
    )
    add_model_options(parser)
    return parser.parse_args()


def run_maps(arguments: Namespace) -> None:
    """Load the model, compute, write, draw."""
    from dynml.analysis.maps.found import MODEL, occupancies_of
    from dynml.analysis.maps.vertices import read_meshes
    from dynml.store.reading import Store

    experiment = experiment_given(arguments)
    if experiment.family.inference is None:
        raise CheckpointError(f"The family {experiment.family.name} has no states or modes to make maps of.")
    dataset = dataset_given(experiment, arguments, arguments.group)
    meshes = None if arguments.meshes is None else read_meshes(*(Path(path) for path in arguments.meshes))
    store, findings = Store(arguments.hdf5_file), list[str]()
    occupancies = occupancies_of(experiment, dataset)
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out:
        spectra = _spectra(arguments, experiment, len(occupancies))
        found = [
            one
            for one in _found(arguments, experiment, dataset, store, spectra, occupancies, findings)
            if one.kind in (KINDS[what] for what in arguments.what)
        ]
        geometries = {
            one.name: _geometry(arguments, store, dataset.group, None if one.band == MODEL else spectra, one, findings)
            for one in found
        }
        findings.extend(_about_meshes(meshes, geometries))
        pictures = _written(arguments, out, experiment, found, geometries, meshes, findings, occupancies.tolist())
        store.close()
        for finding in findings:
            print(f"Note: {finding}")
        kinds = f"{len(found)} {'kind' if len(found) == 1 else 'kinds'} of maps and networks"
        print(f"{kinds}, {pictures} {'picture' if pictures == 1 else 'pictures'}. Results: {out}")


def _found(
    arguments: Namespace,
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    store: Store,
    spectra: Spectra | None,
    occupancies: Any,
    findings: list[str],
) -> list[Found]:
    """What there is to draw: of spectra, where they are given, and of the model's moments."""
    import numpy as np

    from dynml.analysis.maps.bands import chosen_bands
    from dynml.analysis.maps.found import found_in_model, found_in_spectra
    from dynml.analysis.maps.projection import back_projection
    from dynml.analysis.signal_units import signal_units
    from dynml.models.inferred import ModelWithArrays

    component = experiment.family.components.removesuffix("s")
    for position in np.flatnonzero(occupancies <= 0.0).tolist():
        findings.append(f"{component.capitalize()} {position + 1} is never visited.")
    group, subjects = dataset.group, list(dataset.subset("training").subjects) or list(store.subjects)
    described = store.attributes(subjects[0], group)
    arrays = experiment.model.arrays() if isinstance(experiment.model, ModelWithArrays) else {}
    back = back_projection(dataset.channel_names, experiment.embedding, store, group, subjects)
    if back.stopped_at is not None:
        findings.append(
            f"The model's channels are components of which {back.stopped_at!r} was taken, which has no way back: maps "
            "are of components."
        )
    through_store = len(back.in_words) > (experiment.embedding is not None)
    units_of_channels = signal_units(described, before_components=through_store)
    found = found_in_model(arrays, back, occupancies, units_of_channels)
    if not any(one.kind == "mean" for one in found):
        findings.append("The model learnt no means, so that there are no maps of them.")
    if spectra is None:
        return found
    names = spectra.channel_names or described.channel_names
    if len(names) != spectra.power.shape[1]:
        raise DataError(
            f"{spectra.path} has spectra of {spectra.power.shape[1]} channels, but the group {group} of {store.path} "
            f"has {len(names)}; --group names the group that the spectra are of."
        )
    bands = chosen_bands(arguments.bands, spectra.frequencies, spectra.bands)
    units = str(spectra.about.get("units_of_signals") or signal_units(described))
    of_spectra = found_in_spectra(spectra, bands, occupancies, names, units)
    # Spectra say by frequency what the model's covariances say of all together.
    return [one for one in found if one.kind == "mean"] + of_spectra


def _spectra(arguments: Namespace, experiment: Experiment, n_states: int) -> Spectra | None:
    """Read the folder that is given; refuse one of states that are not this model's."""
    from dynml.analysis.maps.spectra_folder import read_spectra

    if arguments.spectra is None:
        return None
    spectra = read_spectra(Path(arguments.spectra), n_states)
    digest = spectra.about.get("model_sha256")
    if None not in (digest, experiment.sha256) and digest != experiment.sha256:
        raise DataError(
            f"The spectra in {spectra.path.parent} are of another model ({spectra.about.get('experiment')}, "
            f"{spectra.about.get('weights')}) than {experiment.name}; compute them again."
        )
    return spectra


def _geometry(
    arguments: Namespace, store: Store, group: str, spectra: Spectra | None, found: Found, findings: list[str]
) -> Geometry | None:
    """Where the channels lie, by the atlas that is given or the store."""
    import dataclasses

    from dynml.store.geometry.stored import read_geometry

    if arguments.atlas is not None:
        geometry: Geometry | None = _of_atlas(arguments, found.channel_names)
    elif spectra is not None and "group" in spectra.about:
        group = str(spectra.about["group"])
        geometry = _of_signals(store, spectra, group)
    else:
        geometry = read_geometry(store, group)
    own = None if geometry is None else geometry.of_channels(found.channel_names)
    if own is None:
        reason = "the store does not say where its channels lie" if geometry is None else "they are not places"
        finding = f"Values of {group} are drawn as bars and matrices, because {reason}; --atlas names an atlas."
        if finding not in findings:
            findings.append(finding)
        return None
    if arguments.space is not None:
        own = dataclasses.replace(own, values={**own.values, "standard": arguments.space == "standard"})
    if found.is_network and own.kind != "sensors" and not own.has_positions:
        finding = f"Networks of {group} are drawn as matrices, because the centres of its channels are not known."
        if finding not in findings:
            findings.append(finding)
    return own


def _about_meshes(meshes: dict[str, Mesh] | None, geometries: dict[str, Geometry | None]) -> Iterator[str]:
    """Refuse meshes that the channels do not fit; say where they, or channels for them, are missing."""
    from dynml.analysis.maps.vertices import check_meshes, has_vertices

    on_cortex = [own for own in geometries.values() if own is not None and has_vertices(own)]
    if meshes is None:
        if on_cortex:
            yield "Channels on the cortex are drawn as bars; --meshes LEFT RIGHT names the surfaces to draw them on."
        return
    if not on_cortex:
        yield "The meshes are not used: no channel lies on vertices of the cortex."
    for own in on_cortex:
        check_meshes(meshes, own)


def _of_signals(store: Store, spectra: Spectra, group: str) -> Geometry | None:
    """Where the channels of the spectra lie, which may be those of another group or of another store."""
    from dynml.store.geometry.stored import read_geometry
    from dynml.store.reading import Store

    file = spectra.about.get("signals_file")
    if file is None or not Path(str(file)).is_file():
        return read_geometry(store, group)
    with Store(str(file)) as other:
        return read_geometry(other, group)


def _of_atlas(arguments: Namespace, names: Sequence[str]) -> Geometry:
    from dynml.readers.fmri.nifti import NiftiReader

    path = Path(arguments.atlas)
    if not path.is_file():
        raise DataError(f"The atlas {path} does not exist.")
    labels = None if arguments.atlas_labels is None else Path(arguments.atlas_labels)
    geometry = NiftiReader(NiftiReader.Config(atlas=path, atlas_labels=labels)).geometry(path)
    if len(geometry.channel_names) != len(names):
        raise DataError(
            f"The atlas {path} has {len(geometry.channel_names)} parcels, but there are values of {len(names)} "
            "channels."
        )
    return geometry if labels is not None else geometry.named(names)


def _written(
    arguments: Namespace,
    out: Path,
    experiment: Experiment,
    found: Sequence[Found],
    geometries: dict[str, Geometry | None],
    meshes: dict[str, Mesh] | None,
    findings: list[str],
    occupancies: list[float],
) -> int:
    from dynml.analysis.maps.networks import kept_edges
    from dynml.analysis.tidy import KIND
    from dynml.cli.outputs.maps import draw, not_drawn, write_arrays, write_images, write_tables
    from dynml.files import write_json

    component, relative = experiment.family.components.removesuffix("s"), not arguments.absolute
    kept = {
        one.name: [
            kept_edges(own, arguments.edges, arguments.seed) for own in (one.relative if relative else one.values)
        ]
        for one in found
        if one.is_network
    }
    write_arrays(out, found)
    write_tables(out, found, kept, component)
    for one in found:
        findings.extend(not_drawn(one, geometries[one.name], kept.get(one.name), component))
    images = write_images(out, found, geometries, component)
    pictures = [
        picture.as_dictionary()
        for one in found
        for picture in draw(
            out,
            one,
            geometries[one.name],
            kept.get(one.name),
            component=component,
            relative=relative,
            surface=arguments.surface,
            meshes=meshes,
        )
    ]
    summary = {
        KIND: "maps",
        "experiment": str(arguments.experiment_path),
        "weights": experiment.weights,
        "model_sha256": experiment.sha256,
        "spectra": arguments.spectra,
        "relative_to_average": relative,
        "occupancies": occupancies,
        "edges": {name: [edges.in_words for edges in own] for name, own in kept.items()},
        "images": images,
        "pictures": pictures,
        "findings": findings,
    }
    write_json(out / "summary.json", summary)
    return len(pictures)
