"""A draft of a paper's methods: what was fitted to which data, how, and against what, from what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynml.report.comparison import SUBSETS, comparison
from dynml.report.experiment import ReportedExperiment
from dynml.report.parts.preparation_words import preparation_in_words
from dynml.report.results import DECODING, INFERENCE, ResultsFolder, of_kind
from dynml.report.starts_facts import starts_of
from dynml.report.words import STOPPING, baseline, counted, duration, listed
from dynml.store.layout import SUBSET_NAMES

RABINER = "Rabiner 1989, Proceedings of the IEEE 77:257-286"
GOHIL = "Gohil et al. 2022, NeuroImage 263:119595"
OBJECTIVES = {
    "csm": "to predict each sample from those before it",
    "sequence_bert": "to predict hidden samples from those around them",
    "network_bert": "to predict each channel from the others",
    "autoencoder": "to rebuild windows from a short description of them",
}
WHY = STOPPING | {"inner_folds": "(as many as served left-out training trials best)"}
COVARIANCES = {"full": "full covariance", "diagonal": "diagonal covariance"}


def methods_in_words(experiment: ReportedExperiment, results: Sequence[ResultsFolder] = ()) -> list[str]:
    """Paragraphs on data, model and evaluation; [] of a run that has not finished, or of a family that is not known.

    Parameters
    ----------
    experiment : ReportedExperiment
    results : sequence of ResultsFolder
        Of these, inference and decoding are told.
    """
    models = {"hmm": _hmm, "dynemo": _dynemo, "decoding": _decoder} | dict.fromkeys(OBJECTIVES, _sequence_model)
    model = models.get(str(experiment.family_name))
    if model is None or not experiment.is_finished or not experiment.summary:
        return []
    return [_data(experiment), f"{model(experiment)} {_training(experiment)}", _evaluation(experiment, results)]


def _data(experiment: ReportedExperiment) -> str:
    dataset = experiment.dataset
    subsets = {name: own for name in SUBSET_NAMES if (own := (dataset.get("subsets") or {}).get(name) or {})}
    rates = [float(rate) for rate in dataset.get("sampling_frequencies") or ()]
    told = [_subset(name, own, rates) for name, own in subsets.items() if own.get("n_subjects")]
    split = "by runs, so that people stand in several subsets" if dataset.get("split") == "runs" else "by participant"
    rate = f" sampled at {listed([f'{one:g}' for one in rates])} Hz" if rates else ""
    steps = preparation_in_words(dataset.get("preparation") or {})
    prepared = f" Preparation: {'; '.join(steps)}." if steps else ""
    embedding = dataset.get("embedding") or {}
    if embedding.get("n_embeddings") or embedding.get("n_components"):
        lags, kept = embedding.get("n_embeddings") or 1, embedding.get("n_components")
        components = f" and projected onto {kept} principal components of the training recordings" if kept else ""
        prepared += f" Signals were embedded over {counted(lags, 'sample')}{components}."
    channels = counted(int(dataset.get("n_channels") or 0), "channel")
    return f"Time series of {channels}{rate} were divided {split} into {listed(told)}.{prepared}"


def _subset(name: str, own: Mapping[str, Any], rates: Sequence[float]) -> str:
    n_samples = int(own.get("n_samples") or 0)
    length = duration(n_samples / rates[0]) if len(rates) == 1 else counted(n_samples, "sample")
    people = counted(int(own.get("n_participants") or 0), "participant")
    return f"{name} ({counted(int(own.get('n_subjects') or 0), 'recording')} of {people}, {length})"


def _hmm(experiment: ReportedExperiment) -> str:
    model = experiment.model
    covariance = COVARIANCES.get(str(model.get("covariance_type")), str(model.get("covariance_type")))
    shared = " shared by all states" if model.get("tied_covariance") else ""
    means = "its own mean" if model.get("learn_means") else "a mean of zero"
    prior = float(model.get("covariance_prior_samples") or 0)
    weight = f" Its prior on covariances weighs as much as {prior:g} samples." if prior >= 1 else ""
    starts = starts_of(experiment)
    best_of = f", from the best of {starts.n} starts," if starts is not None and starts.n > 1 else ""
    return (
        f"A hidden Markov model ({RABINER}) with {counted(int(model['n_states']), 'state')}, each a Gaussian with "
        f"{means} and {covariance}{shared}, was fitted to all training recordings together{best_of} by expectation "
        f"maximization.{weight}"
    )


def _dynemo(experiment: ReportedExperiment) -> str:
    model = experiment.model
    means = "means and covariances" if model.get("learn_means") else "covariances"
    length = model.get("sequence_length")
    windows = f" on windows of {counted(int(length), 'sample')}" if length else ""
    return (
        f"DyNeMo ({GOHIL}) with {counted(int(model['n_modes']), 'mode')}, whose {means} mix in proportions that "
        f"recurrent networks infer, was trained on all training recordings together{windows} by variational inference."
    )


def _decoder(experiment: ReportedExperiment) -> str:
    model, rates = experiment.model, experiment.dataset.get("sampling_frequencies") or []
    classes = [str(name) for name in model.get("class_names") or ()]
    what = f" ({listed(classes, 12)})" if classes else ""
    backbone = model.get("backbone")
    name = backbone.get("family") if isinstance(backbone, Mapping) else backbone
    pretrained = ", pre-trained without labels" if experiment.parameters.get("pretrained") else ""
    linear, head_epochs = experiment.summary.get("linear_answer"), experiment.summary.get("head_epochs")
    alone = f"; its head learnt alone in the first {counted(head_epochs, 'epoch')}" if head_epochs else ""
    network = f"a network (backbone {name}{pretrained}{alone})"
    if linear:
        share = (linear.get("network") or {}).get("share")
        kept = "" if share is None else f": {share:g}"
        network = (
            "a weighted mean of ridge regressions on the trial's course, power, covariances and correlations, and of a "
            f"fraction of {network} that folds of the training trials chose{kept}"
        )
    length = model.get("trial_length")
    seconds = f" of {duration(length / rates[0])}" if length and len(rates) == 1 else ""
    return f"Trials{seconds} were decoded for {model.get('target', 'their class')}{what} by {network}."


def _sequence_model(experiment: ReportedExperiment) -> str:
    name = str(experiment.family_name)
    return f"A model of the family {name} was trained without labels {OBJECTIVES[name]}."


def _training(experiment: ReportedExperiment) -> str:
    summary = experiment.summary
    why = WHY.get(str(summary.get("stopping_reason")), "")
    epochs = counted(int(summary.get("epochs") or 0), "epoch")
    best, kept = summary.get("best_epoch"), ""
    if summary.get("kept"):
        kept = f"; {summary['kept']}, was kept"
    elif best:
        kept = f"; that of epoch {best}, the best by {str(summary.get('monitored')).replace('_', ' ')}, was kept"
    seed = (experiment.parameters.get("trainer") or {}).get("seed")
    version = (experiment.parameters.get("environment") or {}).get("dynml")
    made = ", ".join(filter(None, [f"dynml {version}" if version else "", "" if seed is None else f"seed {seed}"]))
    return f"Training ended after {epochs}{why and f' {why}'}{kept}{f' ({made})' if made else ''}."


def _evaluation(experiment: ReportedExperiment, results: Sequence[ResultsFolder]) -> str:
    compared = [one for name in SUBSETS if (one := comparison(experiment, name)) is not None]
    rivals = list(dict.fromkeys(name for one in compared for name in one.baselines))
    loss = experiment.summary.get("loss")
    said = []
    if rivals:
        names = listed([baseline(name, loss) for name in rivals])
        said.append(f"Beside it, on the same recordings, stand these baselines: {names}.")
    inference, decoded = of_kind(results, INFERENCE), of_kind(results, DECODING)
    if inference is not None:
        path = " and its most likely sequence by the Viterbi algorithm" if experiment.family_name == "hmm" else ""
        what = "probability of each state" if experiment.component == "state" else "mixing coefficient of each mode"
        said.append(f"The {what} at every sample was inferred given the whole recording{path}.")
    if decoded is not None:
        metrics = decoded.summary
        trials = counted(int(metrics.get("n_trials") or 0), f"{metrics.get('subset')} trial")
        said.append(f"Each of {trials} was scored once.")
        if metrics.get("accuracy_wilson_interval"):
            said.append("Intervals of accuracy are Wilson's (95 %); differences from baselines are paired.")
    return " ".join(said)
