"""Whether states tell apart whose data they are: subjects, sessions, runs, sites; and whether they stay where they are.

Shapes: R runs, K states.
"""

from __future__ import annotations

import numpy as np

from dynml.analysis.checks.verdicts import Verdict, not_made
from dynml.ops.explained_entropy import by_group, explained_share, share_by_chance
from dynml.training.data.subject_differences import EXCESS, SITES, SUBJECT, Explained, Occupancies

MOST_IN_ONE = 0.8
"""Mean share of a run's time in its most frequent state, from which on states hardly change."""
UNITS = {"subject": "participant", "session": "session of its participant", "run": "run"}


def occupancy_verdicts(occupancies: Occupancies) -> list[Verdict]:
    """Say what participants, sessions, runs and sites explain of the entropy of the states, and how long they stay.

    Parameters
    ----------
    occupancies : Occupancies
        Of all runs that were inferred.
    """
    kind, explained = occupancies.kind, dict(occupancies.explained())
    if not occupancies.weights:
        return [not_made("occupancy_by_subject", "No sample of the data was observed.")]
    session = explained_by_sessions(occupancies)
    if session is not None:
        explained["session"] = session
    found = [_of_grouping(name, one, kind) for name, one in explained.items()]
    if "subject" not in explained:
        found.append(_without_subjects(occupancies))
    for name, words in (
        ("session", "No participant has several recordings"),
        ("run", "No participant has several runs"),
    ):
        if name not in explained:
            found.append(not_made(f"occupancy_by_{name}", f"{words}, so that {name}s cannot be compared."))
    if not any(name.lower() in SITES for name in explained):
        why = (
            f"The store has no column that says where subjects were recorded ({', '.join(SITES)}) with several values."
        )
        found.append(not_made("occupancy_by_site", why))
    return [*found, _stasis(occupancies)]


def explained_by_sessions(occupancies: Occupancies) -> Explained | None:
    """What recordings (subjects of the store) of one participant explain beyond the participant; None without such."""
    subjects = [subject for subject, _ in occupancies.runs]
    if len(set(subjects)) <= len(set(occupancies.people)):
        return None
    shares = []
    for labels in (subjects, occupancies.people):
        number_of = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        groups = np.array([number_of[label] for label in labels])
        sums = by_group(occupancies.weights, groups)
        visits = np.bincount(groups, weights=occupancies.visits)
        shares.append((explained_share(sums), share_by_chance(sums, visits)))
    (own, own_chance), (people, people_chance) = shares
    if own is None or people is None:
        return None
    return Explained(max(own - people, 0.0), max(own_chance - people_chance, 0.0))


def _of_grouping(name: str, one: Explained, kind: str) -> Verdict:
    is_site = name.lower() in SITES
    stands_out = one.is_finding(name)
    differs = one.share - one.by_chance >= EXCESS
    unit = UNITS.get(name, f"{name} of its subject")
    by = f"Which {unit} a sample is of explains {one.share:.0%} of the entropy of the {kind}"
    by = f"{by}, by chance {one.by_chance:.0%}"
    meaning = (
        f"they distinguish {unit.split()[0]}s rather than times."
        if stands_out and name == "subject"
        else f"they differ between the values of {unit.split()[0]} more than they should."
        if stands_out
        else f"{unit.split()[0]}s use them in different shares, but share the {kind}."
        if differs
        else f"the {kind} are shared."
    )
    return Verdict(
        name=f"occupancy_by_{'site_' + name if is_site else name}",
        value=one.share,
        reference=one.by_chance,
        sentence=f"{by}: {meaning}",
        holds=not stands_out,
    )


def _without_subjects(occupancies: Occupancies) -> Verdict:
    n_people = len(set(occupancies.people))
    if n_people < 2:
        why = f"There is one participant, so whether the {occupancies.kind} are those of one person cannot be tested."
    else:
        why = f"All samples are in one of the {occupancies.kind}, so that there is no entropy to explain."
    return not_made("occupancy_by_subject", why)


def _stasis(occupancies: Occupancies) -> Verdict:
    weights = np.array(occupancies.weights)
    largest = (weights / weights.sum(axis=1, keepdims=True)).max(axis=1)
    mean, kind = float(largest.mean()), occupancies.kind
    stays = mean > MOST_IN_ONE and weights.shape[1] > 1
    n_still = int((largest > MOST_IN_ONE).sum())
    sentence = (
        f"A run spends {mean:.0%} of its time in its most frequent one of {weights.shape[1]} {kind} on average, and "
        f"{n_still} of {len(largest)} runs more than {MOST_IN_ONE:.0%}: "
        + ("most runs hardly leave it." if stays else f"runs go through several {kind}.")
    )
    return Verdict(name="stasis", value=mean, reference=MOST_IN_ONE, sentence=sentence, holds=not stays)


def are_subjects(verdicts: dict[str, Verdict]) -> bool:
    """Whether the states are found to tell subjects apart."""
    verdict = verdicts.get("occupancy_by_subject")
    if verdict is None or verdict.value is None or verdict.reference is None:
        return False
    return Explained(verdict.value, verdict.reference).is_finding(SUBJECT)
