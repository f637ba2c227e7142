"""What dynml_extract_features.py does: embeddings, hidden states, attributions and attention, with pictures."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.model_options import (
    add_group,
    add_model_options,
    add_paths,
    add_subset,
    dataset_given,
    experiment_given,
    subsets_given,
)
from dynml.cli.outputs.features import HDF5_ENDINGS, FeatureOutput, check_output_is_free, opened_output
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import DataError, DataWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.targets import Trials
    from dynml.models.sequence.features.pieces import Cut

METHODS = ("gradient_x_input", "integrated_gradients")


def parse_extraction(description: str | None, arguments: Sequence[str] | None = None) -> Namespace:
    """Parse the command line of dynml_extract_features.py."""
    parser = ScriptParser(description=description)
    add_paths(parser)
    parser.add_argument("out", metavar="OUT", help="folder, or a file that ends in .hdf5 or .h5")
    add_group(parser)
    add_subset(parser)
    parser.add_argument(
        "--window_length",
        metavar="N",
        type=int,
        help="samples of a window; default: as in training",
    )
    parser.add_argument("--trials", metavar="COLUMN", type=str, help="column of the events whose labels define trials")
    parser.add_argument(
        "--onset_shift",
        metavar="S",
        type=float,
        help="seconds from an event's onset to the start of its trial; default: as in training, else 0",
    )
    parser.add_argument(
        "--trial_length",
        metavar="N",
        type=int,
        help="samples of a trial; default: as in training, else the event's duration",
    )
    parser.add_argument(
        "--pooling",
        choices=["mean", "class_token"],
        help="the vector of a window: the mean hidden state of its samples (default), or the state of the class token",
    )
    parser.add_argument("--per_sample", action="store_true", help="also write the hidden state of every stored sample")
    parser.add_argument(
        "--attribution",
        nargs="?",
        const=METHODS[1],
        choices=METHODS,
        help="also write how much each network and sample contributes to the output; without a value: "
        "integrated_gradients",
    )
    parser.add_argument("--attention", action="store_true", help="also write the mean attention of each head by lag")
    add_model_options(parser, force="overwrite OUT")
    return parser.parse_args(arguments)


def run_extraction(arguments: Namespace) -> None:
    """Check what can be checked, cut the recordings, embed them, add what was asked for."""
    from dynml.analysis.tidy import KIND
    from dynml.models.seen_subjects import seen_before
    from dynml.models.sequence.features.attention_lags import model_of_attention
    from dynml.models.sequence.features.extraction import model_of_states, model_with_embeddings, settled_pooling
    from dynml.models.sequence.features.pieces import Cut, check_length, settled_cut

    path = Path(arguments.out)
    asked = Cut(**{name: arguments[name] for name in ("window_length", "trials", "onset_shift", "trial_length")})
    check_output_is_free(path, force=arguments.force)
    experiment = experiment_given(arguments)
    model = model_with_embeddings(experiment)
    pooling = settled_pooling(model, arguments.pooling)
    model_of_states(model) if arguments.per_sample else None
    model_of_attention(model) if arguments.attention else None
    dataset = dataset_given(experiment, arguments, arguments.group)
    names = subsets_given(arguments)
    cut = settled_cut(experiment, dataset, asked, names)
    parts = _parts(experiment, dataset, names, cut)
    longest = max(int(part.spans.lengths.max()) for part in parts.values())
    check_length(model, dataset, cut.window_length or longest, cut.length_key)
    _warn_of_untrained_lengths(experiment, longest, cut)
    trained = experiment.parameters["dataset"]
    summary: dict[str, Any] = {
        KIND: "features",
        "experiment": str(arguments.experiment_path),
        "family": experiment.family.name,
        "weights": experiment.weights,
        "subjects_seen_in_training": {name: seen_before(trained, dataset, name) for name in parts},
        "other_preparation": experiment.other_preparation,
        "embedding": pooling,
        "cut": {name: value for name, value in asdict(cut).items() if value is not None},
        "split": dataset.split,
        "subsets": {name: list(dataset.subset(name).subjects) for name in parts},
    }
    pictures: list[dict[str, str]] = []
    with opened_output(path, force=arguments.force) as output:
        if arguments.attribution:
            summary["attribution"] = _write_attribution(
                model,
                dataset,
                parts,
                arguments.attribution,
                cut,
                output,
                hdf5=Path(arguments.hdf5_file),
                pictures=pictures,
            )
        if arguments.attention:
            summary["attention"] = _write_attention(model, parts, cut, output)
            pictures.append({"path": "attention_lags.png", "alt": "Mean attention of each head by lag"})
        n_dimensions = _write_embeddings(model, parts, pooling, cut, output)
        n_each = {name: len(part) for name, part in parts.items()}
        summary |= {"n_embeddings": n_each, "n_dimensions": n_dimensions}
        if arguments.per_sample:
            _write_states(model, parts, longest, output)
            summary["states_window_length"] = longest
        if pictures and path.suffix.lower() not in HDF5_ENDINGS:
            summary["pictures"] = pictures
        output.summary(summary)
    n_subjects = sum(len(set(part.subjects)) for part in parts.values())
    print(
        f"{sum(n_each.values())} {_kind(cut)}s of {n_subjects} subjects became vectors of {n_dimensions} numbers "
        f"({pooling.replace('_', ' ')}; {dataset.split}). Results: {path}"
    )


def _parts(experiment: Experiment, dataset: MultiSubjectDataset, names: Sequence[str], cut: Cut) -> dict[str, Trials]:
    """Windows or trials of the subsets that have some."""
    from dynml.models.sequence.features.pieces import pieces_of_subset

    found = {
        name: pieces_of_subset(experiment, dataset, name, cut) for name in names if dataset.subset(name).n_subjects
    }
    found = {name: part for name, part in found.items() if len(part)}
    if not found:
        what = f"trials of {cut.trials}" if cut.of_trials else "windows"
        raise DataError(f"There are no {what} in the {' or '.join(names)} subset.")
    return found


def _warn_of_untrained_lengths(experiment: Experiment, longest: int, cut: Cut) -> None:
    from dynml.models.sequence.features.pieces import trained_length

    trained = trained_length(experiment)
    if trained is not None and longest > trained:
        warnings.warn(
            f"{_kind(cut).capitalize()}s of {longest} samples are longer than those of the training ({trained}): the "
            f"model has not learnt what lies beyond; {cut.length_key} {trained} avoids it.",
            DataWarning,
            stacklevel=2,
        )


def _kind(cut: Cut) -> str:
    return "trial" if cut.of_trials else "window"


def _write_embeddings(model: Any, parts: dict[str, Trials], pooling: Any, cut: Cut, output: FeatureOutput) -> int:
    """Write vectors with their table, and say how many numbers each has."""
    import numpy as np

    from dynml.models.sequence.features.extraction import embeddings_of

    vectors = np.concatenate([embeddings_of(model, part, pooling) for part in parts.values()])
    names = next(iter(parts.values())).names
    kind = _kind(cut)
    columns: dict[str, list[Any]] = {
        "subset": [name for name, part in parts.items() for _ in range(len(part))],
        "subject": _joined(part.subjects for part in parts.values()),
        "participant": _joined(part.participants for part in parts.values()),
        kind: _joined(part.number.tolist() for part in parts.values()),
        "run": _joined(part.run for part in parts.values()),
        "segment": _joined(part.spans.segment.tolist() for part in parts.values()),
        "start": _joined(part.spans.start.tolist() for part in parts.values()),
        "stop": _joined(part.spans.stop.tolist() for part in parts.values()),
    }
    if names:
        columns["label"] = _joined(part.truth.tolist() for part in parts.values())
    output.embeddings(kind, vectors, columns, names)
    return int(vectors.shape[1])


def _joined(lists: Any) -> list[Any]:
    return [item for one in lists for item in one]


def _write_states(model: Any, parts: dict[str, Trials], length: int, output: FeatureOutput) -> None:
    from dynml.models.sequence.features.extraction import model_of_states, states_of_subject

    states_model = model_of_states(model)
    for part in parts.values():
        for index, subject in enumerate(part.subset.subjects):
            output.states(subject, states_of_subject(states_model, part.subset, index, length))


def _write_attribution(
    model: Any,
    dataset: MultiSubjectDataset,
    parts: dict[str, Trials],
    method: Any,
    cut: Cut,
    output: FeatureOutput,
    *,
    hdf5: Path,
    pictures: list[dict[str, str]],
) -> dict[str, Any]:
    """Write maps, networks and pictures, and add those to the list; give what is said of them."""
    from dynml.cli.outputs.attribution import described, draw_attribution, draw_on_brain
    from dynml.models.sequence.features.attribution import attribution_maps
    from dynml.store.geometry.stored import read_geometry
    from dynml.store.reading import Store

    found = attribution_maps(model, list(parts.values()), method)
    networks = list(dataset.channel_names)
    sizes = {name: found.importance[group].tolist() for group, name in enumerate(found.group_names)}
    tables = {"networks": {"network": networks} | {f"mean_size_{name}": values for name, values in sizes.items()}}
    output.group("attribution", {"maps": found.maps, "times": found.times}, tables)
    step, unit = _time_step(parts)
    since, kind = "predicted sample" if found.since_predicted else f"{_kind(cut)}'s first sample", _kind(cut)
    time_label = f"Time since the {since} ({unit})"
    draw_attribution(found, networks, output, method=method, kind=kind, times=found.times * step, time_label=time_label)
    with Store(hdf5) as store:
        geometry = read_geometry(store, dataset.group)
    on_brain = draw_on_brain(found, networks, output, kind=kind, geometry=geometry)
    pictures.extend(described(on_brain, found, networks))
    return {
        "method": method,
        "of": found.meaning,
        "unit": found.unit,
        "groups": dict(zip(found.group_names, found.n_windows.tolist())),
        "times_since": since,
        "mean_at_input": found.value_at_input,
        "mean_at_zero": found.value_at_zero,
        "unexplained_share": found.unexplained,
    }


def _write_attention(model: Any, parts: dict[str, Trials], cut: Cut, output: FeatureOutput) -> dict[str, Any]:
    """Write profiles and their picture; give how far each head looks."""
    from dynml.models.sequence.features.attention_lags import attention_lags, model_of_attention
    from dynml.plotting.attribution import plot_attention_lags
    from dynml.plotting.style import save_figure

    found = attention_lags(model_of_attention(model), list(parts.values()))
    n_layers, n_heads, _ = found.profiles.shape
    columns: dict[str, list[Any]] = {"lag": found.lags.tolist(), "equal": found.equal.tolist()}
    for layer in range(n_layers):
        for head in range(n_heads):
            columns[f"layer_{layer + 1}_head_{head + 1}"] = found.profiles[layer, head].tolist()
    output.group("attention", {"profiles": found.profiles}, {"lags": columns})
    step, unit = _time_step(parts)
    figure = plot_attention_lags(
        found.profiles,
        found.lags * step,
        equal=found.equal,
        lag_label=f"Lag ({unit})",
        title=f"Attention between samples of {found.n_windows} {_kind(cut)}s",
    )
    save_figure(figure, output.figure("attention_lags"))
    return {"mean_distance_samples": found.distances.tolist(), "equal": found.equal_distance}


def _time_step(parts: dict[str, Trials]) -> tuple[float, str]:
    """Length of a sample and its unit: seconds, where all subjects have one rate."""
    rates = {float(rate) for part in parts.values() for rate in part.subset.sampling_frequencies}
    return (1 / rates.pop(), "s") if len(rates) == 1 else (1.0, "samples")
