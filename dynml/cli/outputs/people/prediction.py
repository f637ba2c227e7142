"""What dynml_predict_participants.py writes: predictions, scores, a picture and a summary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynml.analysis.prediction.cross_validation import PredictionSettings
from dynml.analysis.prediction.people import CONFOUNDS, People, Result
from dynml.analysis.prediction.sources import STATIC
from dynml.analysis.tidy import KIND, Column, write_tidy
from dynml.files import write_json

LEVEL = 0.05
NUMBERS, CLASSES = "r", "balanced_accuracy"


def write_prediction(
    out: Path,
    about: Mapping[str, Any],
    people: People,
    settings: PredictionSettings,
    results: Sequence[Result],
    warned: Sequence[str],
) -> list[str]:
    """Write all files and give the findings."""
    findings = [*_findings(people, results), *dict.fromkeys(warned)]
    described = {"target": people.target, "confounds": list(people.confound_names)}
    write_tidy(out / "predictions.tsv", _columns(people), _rows(people, results), **described)
    write_tidy(out / "scores.tsv", _score_columns(people), _score_rows(results), **described)
    write_json(
        out / "summary.json",
        {
            KIND: "prediction",
            **{key: None if value is None else str(value) for key, value in about.items()},
            **described,
            "classes": people.classes,
            "n_participants": len(people.names),
            "n_groups": int(people.groups.max()) + 1,
            **{key: getattr(settings, key) for key in settings.__dataclass_fields__},
            "scores": {one.features: _described(one, people) for one in results},
            "pictures": _draw(out, people, results),
            "findings": findings,
        },
    )
    return findings


def _main_name(people: People) -> str:
    return CLASSES if people.classes else NUMBERS


def _described(one: Result, people: People) -> dict[str, Any]:
    gain, p_of_gain = one.gain_over_static or (None, None)
    return {
        "n_features": one.n_features,
        _main_name(people): one.scores.main,
        "interval": list(one.scores.interval),
        "p": one.scores.p,
        **one.scores.others,
        "gain_over_static": gain,
        "p_of_gain_over_static": p_of_gain,
    }


def _findings(people: People, results: Sequence[Result]) -> Iterator[str]:
    name = "balanced accuracy" if people.classes else "r"
    shown = [one for one in results if one.features not in (STATIC, CONFOUNDS)]
    best = max(shown, key=lambda one: one.scores.main)
    low, high = best.scores.interval
    chance = f", chance {1 / len(people.classes):.2f}" if people.classes else ""
    said = f"{name} = {best.scores.main:.2f} [{low:.2f}, {high:.2f}]{chance}, p = {best.scores.p:.3g}"
    n_sets = (
        f" The best of {len(shown)} sets of features; p is not corrected for that choice." if len(shown) > 1 else ""
    )
    if best.scores.p <= LEVEL:
        yield f"{people.target} is predicted in people held out, by {best.features}: {said}.{n_sets}"
    else:
        yield f"{people.target} was not predicted better than by chance: best by {best.features}, {said}.{n_sets}"
    if not people.classes and best.scores.others["r2"] <= 0:
        yield (
            f"{best.features}: errors are no smaller than those of the mean of the training people "
            f"(R squared {best.scores.others['r2']:.2f})."
        )
    yield from _beside_static(best, results)
    for one in results:
        if one.features == CONFOUNDS and one.scores.main >= best.scores.main:
            yield _of_confounds(one, name, 1 / len(people.classes) if people.classes else 0.0)


def _of_confounds(one: Result, name: str, chance: float) -> str:
    own = one.scores.main
    score = f"{own:.2f}" if abs(own) >= 0.005 else f"{own:.1g}"
    if own > chance:
        return f"The confounds alone reach {name} = {score} for the target as it is."
    if name == "r" and own == 0:  # the score of predictions that are all equal
        return "The confounds alone do not predict the target as it is either: they predict the same for everybody."
    return f"The confounds alone do not predict the target as it is either ({name} = {score})."


def _beside_static(best: Result, results: Sequence[Result]) -> Iterator[str]:
    static = next((one for one in results if one.features == STATIC), None)
    if static is None:
        yield "No comparison with static connectivity: give the store by --hdf5 to see whether dynamics add to it."
        return
    gain, p = best.gain_over_static or (math.nan, math.nan)
    verdict = "better than" if gain > 0 and p <= LEVEL else "worse than" if gain < 0 and p <= LEVEL else "not told from"
    yield (
        f"{best.features} is {verdict} static covariances ({static.scores.main:.2f}, p = {static.scores.p:.3g}); "
        f"difference by folds: p = {p:.3g}."
    )


def _columns(people: People) -> list[Column]:
    return [
        Column("participant", "Person"),
        Column("features", "Set of features that was learnt from"),
        Column("repeat", "Division into folds, from 1"),
        Column("fold", "Fold that the person was left out in, from 1"),
        Column("truth", f"{people.target}, as in the table of participants"),
        Column("truth_without_confounds", "What was predicted: less what confounds tell; n/a of classes"),
        Column("predicted", "Prediction, without confounds; the class that was told"),
        *(
            Column(f"score_{name}", f"Score of the class {name}: above 1 is more than its share")
            for name in people.classes
        ),
    ]


def _rows(people: People, results: Sequence[Result]) -> Iterator[list[Any]]:
    for one in results:
        for repeat, folds in enumerate(one.predicted.fold):
            for row, person in enumerate(people.names):
                said = one.predicted.predicted[repeat, row, 0]
                shared = [person, one.features, repeat + 1, int(folds[row]) + 1, people.truth[row]]
                if people.classes:
                    yield [*shared, None, people.classes[int(said.argmax())], *map(float, said)]
                else:
                    yield [*shared, float(one.predicted.truth[repeat, row, 0, 0]), float(said[0])]


def _score_columns(people: People) -> list[Column]:
    return [
        Column("features", "Set of features; confounds: these alone, for the target as it is"),
        Column("n_features", "Numbers a person"),
        Column(
            _main_name(people),
            "Mean over divisions; r of prediction and truth, or mean over classes of the share right",
        ),
        Column("low", "Lower end of its interval of 95 %, bootstrap over groups of participants"),
        Column("high", "Upper end"),
        Column("p", "By permutation of the target through the whole pipeline; n/a of confounds"),
        Column("r2", "1 - squared error / that of the mean of the training people; n/a of classes"),
        Column("mean_absolute_error", "In units of the target; n/a of classes"),
        Column("accuracy", "Share told right; n/a of numbers"),
        Column("gain_over_static", "Gain in mean squared error, or in the share told right, over static covariances"),
        Column("p_of_gain", "Of the gain, corrected resampled t-test over folds"),
    ]


def _score_rows(results: Sequence[Result]) -> Iterator[list[Any]]:
    for one in results:
        scores, gain = one.scores, one.gain_over_static or (None, None)
        others = [scores.others.get(key) for key in ("r2", "mean_absolute_error", "accuracy")]
        yield [one.features, one.n_features, scores.main, *scores.interval, scores.p, *others, *gain]


def _draw(out: Path, people: People, results: Sequence[Result]) -> list[dict[str, str]]:
    from dynml.plotting.findings.predictions import plot_predictions
    from dynml.plotting.style import save_figure

    best = max((one for one in results if one.features not in (STATIC, CONFOUNDS)), key=lambda one: one.scores.main)
    truth, said = (own[:, :, 0].mean(axis=0) for own in (best.predicted.truth, best.predicted.predicted))
    figure = plot_predictions(
        [one.features for one in results],
        np.array([one.scores.main for one in results]),
        np.array([one.scores.interval for one in results]),
        truth=None if people.classes else truth[:, 0],
        predicted=None if people.classes else said[:, 0],
        chance=1 / len(people.classes) if people.classes else 0.0,
        score_name="Balanced accuracy" if people.classes else "Correlation of prediction and truth",
        target=f"{people.target}{', without confounds' if people.confound_names else ''}",
        title=f"{people.target} of {len(people.names)} participants; left: by {best.features}"
        if not people.classes
        else f"{people.target} of {len(people.names)} participants",
    )
    alt = f"{people.target} predicted by {len(results)} sets of features; best: {best.features}, {best.scores.main:.2f}"
    return [
        {"path": save_figure(figure, out / f"predictions.{ending}").name, "kind": "prediction", "alt": alt}
        for ending in ("png", "svg")
    ]
