"""Three sentences on a run, made by its numbers: what was asked, what was found, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynml.report.comparison import Comparison, held_out, scores_of_model
from dynml.report.experiment import ReportedExperiment
from dynml.report.parts.decoded_labels import found_in_labels
from dynml.report.parts.decoded_numbers import found_in_numbers
from dynml.report.results import DECODING, INFERENCE, ResultsFolder, of_kind
from dynml.report.starts_facts import starts_of, words_on_starts
from dynml.report.words import baseline, counted, difference, distinguishable, duration, listed, loss, number, percent

QUESTIONS = {
    "csm": "how well can a sample be predicted from those before it?",
    "sequence_bert": "how well can hidden samples be predicted from those around them?",
    "network_bert": "how well can one channel be predicted from the others?",
    "autoencoder": "how well can a window be rebuilt from a short description of it?",
}
OF_CLASSES = "cross_entropy"
"""Loss of decoders whose score is a share of trials; areas under curves and R^2 are none."""
LOWER = " (lower is better)"


def asked(experiment: ReportedExperiment) -> str:
    """What was fitted to which data, and to answer what."""
    data, model = _data_in_words(experiment), experiment.model
    if experiment.family_name == "hmm":
        what = "means and covariances" if model.get("learn_means") else "covariances"
        return (
            f"A hidden Markov model with {counted(int(model['n_states']), 'state')} was fitted to {data}: which "
            f"{what} come back again and again, and when?"
        )
    if experiment.family_name == "dynemo":
        return (
            f"DyNeMo with {counted(int(model['n_modes']), 'mode')} was fitted to {data}: which covariances mix, and in "
            "which proportions from moment to moment?"
        )
    if experiment.kind == "decoding":
        classes = listed([str(name) for name in model.get("class_names") or ()])
        of_classes = f" ({classes})" if classes else ""
        target, values = model.get("target", "the class"), model.get("target_values")
        verb = "predicted" if values == "numbers" else "told"
        what = f"the labels of {target}" if values == "labels" else target
        return f"A decoder was trained on {data}: can {what}{of_classes} be {verb} from the signals?"
    name = experiment.family_name or str(experiment.parameters.get("model_class", "a model")).rpartition(":")[2]
    question = QUESTIONS.get(name)
    title = f"The model {name}" if question is None else f"A model that learns without labels ({name})"
    return f"{title} was trained on {data}{'.' if question is None else ': ' + question}"


def _data_in_words(experiment: ReportedExperiment) -> str:
    dataset = experiment.dataset
    training = (dataset.get("subsets") or {}).get("training") or {}
    rates = dataset.get("sampling_frequencies") or []
    n_subjects, n_people = int(training.get("n_subjects") or 0), int(training.get("n_participants") or 0)
    parts = [counted(n_subjects, "recording"), f"of {counted(n_people, 'participant')}"] if n_subjects else ["its data"]
    details = [counted(int(dataset["n_channels"]), "channel")] if dataset.get("n_channels") else []
    second = dataset.get("conditioning")
    if second:
        details.append(f"{len(second['channel_names'])} of them of the second group {second['group']}")
    groups = dataset.get("groups") or {}
    details += [f"{len(own['channel_names'])} of them in group {group}" for group, own in groups.items()]
    if len(rates) == 1:
        details += [f"{rates[0]:g} Hz", f"{duration(training.get('n_samples', 0) / rates[0])} in all"]
    return " ".join(parts) + (f" ({', '.join(details)})" if details else "")


def found(experiment: ReportedExperiment, results: Sequence[ResultsFolder] = ()) -> str:
    """How the model does on data that it was not fitted to, beside its best baseline."""
    if not experiment.summary:
        return "It has not been compared with its baselines yet, which happens when a run ends."
    decoded = of_kind(results, DECODING)
    if decoded is not None and decoded.summary.get("subset") in ("testing", "validation"):
        return _found_by_decoder(decoded.summary)
    if not scores_of_model(experiment.summary):
        return _best_value(experiment.summary)
    compared = held_out(experiment)
    if compared is None:
        own = scores_of_model(experiment.summary).get("training")
        name, unit = loss(experiment.summary.get("loss"))
        on_training = "" if own is None else f"; on the training data its {name} is {number(own)} {unit}".rstrip()
        return (
            "No recordings were held out for validation, so that nothing is known of how it does on new "
            f"ones{on_training}."
        )
    return _found(experiment, compared) + _on_testing(results) + "."


def _best_value(summary: dict[str, Any]) -> str:
    """Of a model whose family makes no comparison."""
    name = str(summary.get("monitored") or "loss").replace("_", " ")
    if summary.get("best_value") is None:
        return "No epoch came to a finite loss, so that there is nothing to compare."
    return (
        f"The best {name} was {number(summary['best_value'])}, in epoch {summary.get('best_epoch')}; this kind of "
        "model has no baselines to compare it with."
    )


def _found(experiment: ReportedExperiment, compared: Comparison) -> str:
    subset = (experiment.dataset.get("subsets") or {}).get(compared.subset) or {}
    name, unit = loss(experiment.summary.get("loss"))
    best, gain = compared.best_baseline, compared.gain
    rival = None if best is None else compared.baselines[best]
    score, of_rival = distinguishable(compared.own, compared.own if rival is None else rival)
    are_shares = experiment.summary.get("loss") == OF_CLASSES
    if are_shares:
        score, of_rival = percent(compared.own), percent(rival)
    begin = (
        f"On {counted(int(subset.get('n_subjects') or 0), 'recording')} that it was not fitted to (validation) "
        f"its {name} is {' '.join(filter(None, (score, unit)))}{'' if compared.higher_is_better else LOWER}"
    )
    if best is None or gain is None or rival is None:
        return f"{begin}; there is no baseline to compare it with"
    beside = f"its best baseline ({baseline(best, experiment.summary.get('loss'))}: {of_rival})"
    if not compared.is_won or score == of_rival:
        verb = "as good as" if score == of_rival else "no better than"
        return f"{begin}, {verb} {beside}{_lesson(experiment)}"
    if compared.higher_is_better:
        return f"{begin}, {f'{100 * gain:.1f} points' if are_shares else difference(gain)} better than {beside}"
    if experiment.kind == "components":
        return f"{begin}, {difference(gain)} nats below {beside}"
    return f"{begin}, {percent(gain / rival) if rival else difference(gain)} below {beside}"


def _lesson(experiment: ReportedExperiment) -> str:
    if experiment.kind == "components":
        return f", so that its {experiment.component}s explain nothing beyond that"
    return ", so that it has learnt nothing beyond that" if experiment.kind == "sequence" else ""


def _on_testing(results: Sequence[ResultsFolder]) -> str:
    inferred = of_kind(results, INFERENCE)
    value = None if inferred is None else (inferred.summary.get("free_energy") or {}).get("testing")
    if inferred is None or value is None:
        return ""
    n_subjects = len((inferred.summary.get("subsets") or {}).get("testing") or ())
    return f"; on {counted(n_subjects, 'testing recording')} it is {number(value)}"


def _found_by_decoder(metrics: dict[str, Any]) -> str:
    if "macro_auc" in metrics:
        return found_in_labels(metrics)
    if "r_squared" in metrics:
        return found_in_numbers(metrics)
    low, high = metrics["accuracy_wilson_interval"]
    rivals = {name: values["accuracy"] for name, values in (metrics.get("baselines") or {}).items()}
    rivals["most_frequent_of_subset"] = metrics.get("most_frequent_share")
    known = {name: value for name, value in rivals.items() if value is not None}
    trials = counted(metrics["n_trials"], f"{metrics['subset']} trial")
    begin = (
        f"Of {trials} of {counted(metrics['n_participants'], 'participant')} it names the class of "
        f"{percent(metrics['accuracy'])} rightly (95 % interval {percent(low)} to {percent(high)})"
    )
    if not known:
        return f"{begin}."
    best = max(known, key=known.__getitem__)
    verb = "more than" if metrics["accuracy"] > known[best] else "no more than"
    return f"{begin}, {verb} its best baseline ({baseline(best)}: {percent(known[best])})."


def trusted(experiment: ReportedExperiment, findings: Sequence[str], never_visited: Sequence[int] = ()) -> str:
    """What limits all this: starts that differ, states that never occur, findings, a split by runs."""
    parts = []
    starts = starts_of(experiment)
    if starts is not None:
        parts.append(words_on_starts(starts, experiment.component))
    if never_visited:
        numbers = listed([str(one) for one in never_visited])
        what = experiment.component if len(never_visited) == 1 else f"{experiment.component}s"
        verb = "is" if len(never_visited) == 1 else "are"
        parts.append(f"{what} {numbers} {verb} never the most probable one")
    if experiment.dataset.get("split") == "runs":
        parts.append("participants stand on both sides of the split, so that nothing is said about new people")
    if findings:
        parts.append(f"{counted(len(findings), 'finding')} below should be read before the numbers are believed")
    elif experiment.is_finished:
        parts.append("the checks at the end of the run found nothing that speaks against it")
    else:
        parts.append("the run has not finished, so that its checks are still to come")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
