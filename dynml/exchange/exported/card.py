"""The model card of an exported model: README.md with the head that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dynml.conversion.stored_preparation import StoredPreparation
from dynml.errors import first_of
from dynml.store.layout import SUBSET_NAMES

SCORES = ("free_energy", "score", "bound", "accuracy", "balanced_accuracy")
NOT_STATED = "not stated"
_MOST_CHANNELS = 12


def scores_of(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Numbers of a run's summary.json by subset: its losses and scores, and those of its baselines.

    Returns
    -------
    dict of str to dict of str to float
        Subset to number, by score; baselines as `baseline <name>`.
    """
    baselines = summary.get("baselines")
    named = dict(summary) | {f"baseline {name}": one for name, one in (baselines or {}).items()}
    found = {}
    for name, one in named.items():
        if isinstance(one, Mapping):
            numbers = {subset: one[subset] for subset in SUBSET_NAMES if isinstance(one.get(subset), (int, float))}
            if numbers and set(one) <= set(SUBSET_NAMES):
                found[name] = numbers
    return found


def model_card(
    *,
    name: str,
    config: Mapping[str, Any],
    preparation: StoredPreparation | None,
    n_parameters: int,
    findings: Sequence[str] = (),
) -> str:
    """Write the card.

    Parameters
    ----------
    name : str
        Title.
    config : mapping
        Content of config.json.
    preparation : StoredPreparation or None
    n_parameters : int
    findings : sequence of str
        Sentences of the training on its results, which name nobody.

    Returns
    -------
    str
        Markdown, after a head in YAML.
    """
    # A JSON text is a YAML text, whatever stands in it.
    head = [
        f"license: {json.dumps(config['licence'] or 'other')}",
        "library_name: dynml",
        f"tags: {json.dumps(['neuroscience', 'time-series', config['family']])}",
    ]
    parts = [
        *_of_model(name, config, n_parameters),
        *_of_data(config, preparation),
        *_of_scores(config["scores"], findings),
        *_of_use(config, preparation),
        "## Licence",
        f"{config['licence'] or NOT_STATED.capitalize()}.",
    ]
    return "---\n" + "\n".join(head) + "\n---\n\n" + "\n\n".join(parts) + "\n"


def _of_model(name: str, config: Mapping[str, Any], n_parameters: int) -> Iterator[str]:
    yield f"# {name}"
    yield (
        f"A model of the family `{config['family']}` of dynml {config['dynml_version']}, with {n_parameters} "
        "parameters. Its settings are in `config.json`."
    )


def _of_data(config: Mapping[str, Any], preparation: StoredPreparation | None) -> Iterator[str]:
    trained = config["dataset"]
    rates = trained.get("sampling_frequencies") or []
    yield "## Training data"
    yield config["data"] or f"The training data are {NOT_STATED}."
    rows = ["| subset | subjects | samples |", "|---|---|---|"]
    for subset, one in (trained.get("subsets") or {}).items():
        if one.get("n_subjects"):
            rows.append(f"| {subset} | {one['n_subjects']} | {one.get('n_samples', NOT_STATED)} |")
    if len(rows) > 2:
        yield "\n".join(rows)
    rate = ", ".join(f"{one:g}" for one in rates) or NOT_STATED
    channels = [
        f"Channels{_of_group(group, config)}: {len(names)} ({first_of(names, _MOST_CHANNELS)})."
        for group, names in _channels(config, preparation).items()
    ]
    yield f"{' '.join(channels)} Sampling frequency (Hz): {rate}."
    yield "This folder contains no names, paths or recordings of people."
    if preparation is not None and any("sign_alignment" in name for fits in preparation.fits.values() for name in fits):
        yield (
            "The template of signs in `preparation.safetensors` is made of the correlations of one training recording, "
            "which is not named."
        )


def _groups(config: Mapping[str, Any]) -> list[str]:
    """Groups of signals that the model was trained on."""
    return list(config["dataset"].get("groups") or [config["dataset"]["group"]])


def _of_group(group: str, config: Mapping[str, Any]) -> str:
    return f" of group `{group}`" if len(_groups(config)) > 1 else ""


def _channels(config: Mapping[str, Any], preparation: StoredPreparation | None) -> dict[str, list[str]]:
    """Names of the channels that recordings of each group must have."""
    trained = config["dataset"]
    found = {}
    for group in _groups(config):
        fits = {} if preparation is None else preparation.fits.get(group, {})
        own = (trained.get("groups") or {}).get(group) or trained.get("embedding") or trained
        found[group] = list(fits[min(fits)].layout.channel_names if fits else own["channel_names"])
    return found


def _of_scores(scores: Mapping[str, Mapping[str, float]], findings: Sequence[str]) -> Iterator[str]:
    yield "## Scores"
    if not scores:
        yield f"{NOT_STATED.capitalize()}."
    else:
        subsets = [subset for subset in SUBSET_NAMES if any(subset in one for one in scores.values())]
        rows = [f"| | {' | '.join(subsets)} |", "|---" * (len(subsets) + 1) + "|"]
        for name, one in scores.items():
            numbers = " | ".join(f"{one[subset]:.5g}" if subset in one else "" for subset in subsets)
            rows.append(f"| {name.replace('_', ' ')} | {numbers} |")
        yield "\n".join(rows)
    if findings:
        yield "\n".join(f"- {finding}" for finding in findings)


def _of_use(config: Mapping[str, Any], preparation: StoredPreparation | None) -> Iterator[str]:
    yield "## Use"
    if preparation is None:
        yield (
            "The folder has no preparation of recordings: give data that were prepared as `dataset.preparation` in "
            "`config.json` says."
        )
        lines = ["dynml_infer_from_model.py THIS_FOLDER new.hdf5 results"]
    else:
        learnt = (
            " Fitted parameters of the steps are in `preparation.safetensors`."
            if any(preparation.fits.values())
            else ""
        )
        chains = [
            f"Recordings{_of_group(group, config)} go through: {_chain(preparation.config[group])}."
            for group in _groups(config)
        ]
        yield f"{' '.join(chains)}{learnt}"
        first, *others = _groups(config)
        lines = [
            f"dynml_apply_preparation.py THIS_FOLDER new_subjects new.hdf5{f' --groups {first}' if others else ''}",
            f"dynml_infer_from_model.py THIS_FOLDER new.hdf5 results{f' --group {first}' if others else ''}",
        ]
    yield "\n".join(["```sh", *lines, "```"])
    yield (
        "Whom the model was trained on is not told, so nothing warns of recordings that it has seen. The results of "
        "recordings that are unlike the training data say nothing; compare their free energy or scores with the above."
    )


def _chain(section: Mapping[str, Any]) -> str:
    names = [step if isinstance(step, str) else step["step"] for step in section.get("preparation") or []]
    return ", ".join([*names, f"standardization {section.get('standardization', 'per_run')}"])
