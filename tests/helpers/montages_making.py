"""Stores of two groups with channels of their own, which see the same sources."""

from __future__ import annotations

import h5py
import numpy as np
from store_making import Study

COMMON = [f"E{number}" for number in range(8)]
OWN = {"cap_a": [f"A{number}" for number in range(4)], "cap_b": [f"B{number}" for number in range(4)]}
NAMES = {group: [*COMMON, *own] for group, own in OWN.items()}
ALL = [*COMMON, *OWN["cap_a"], *OWN["cap_b"]]
N_SOURCES = 4


def seen_through(names, n_samples, seed, *, noise=0.2):
    """Signals (T, C) of channels that see some sources, each of which drives others by a bent (non-linear) function."""
    of_all = np.random.default_rng(0)
    patterns = dict(zip(ALL, of_all.normal(size=(len(ALL), N_SOURCES))))
    turning = 2.5 * np.linalg.qr(of_all.normal(size=(N_SOURCES, N_SOURCES)))[0]
    generator = np.random.default_rng([1, seed])
    sources = np.zeros((n_samples, N_SOURCES))
    for t in range(1, n_samples):
        sources[t] = np.sin(turning @ sources[t - 1]) + 0.1 * generator.normal(size=N_SOURCES)
    signals = sources @ np.array([patterns[name] for name in names]).T
    # The noise is that of the channel and the recording, whatever the order of channels.
    for column, name in enumerate(names):
        signals[:, column] += noise * np.random.default_rng([2, seed, ALL.index(name)]).normal(size=n_samples)
    return signals.astype(np.float32)


def store_of_groups(
    folder,
    members,
    *,
    names=None,
    n_samples=200,
    short=(),
    validation=(),
    participants=None,
    missing_of=None,
    seen_as=None,
    events=None,
    **settings,
):
    """A store whose groups have subjects of their own.

    Parameters
    ----------
    members : dict
        Group to the numbers of its subjects; sub-N is one recording, whichever cap sees it.
    names : dict
        Group to its channels.
    seen_as : dict
        Group to the channels whose signals these have, where their names are others.
    short : sequence of int
        Subjects of 80 samples.
    events : dict
        Group to the text of the table of events that each of its recordings has.
    missing_of : dict
        Group to a sample that is missing in all of its recordings.
    """
    names = names or {group: NAMES[group] for group in members}
    everyone = sorted({number for numbers in members.values() for number in numbers})
    study = Study(folder, {f"sub-{number}": [] for number in everyone})
    study.config = {} if participants is None else {"participants": participants}
    for group in members:
        study.config[group] = {"type": "timeseries", "files": [f"{group}.npy"], "sampling_frequency": 100.0}
        study.config[group] |= {"channel_names": names[group], **settings.get(group, {})}
        if group in (events or {}):
            study.config[group]["events"] = f"{group}_events.tsv"
        for number in everyone:
            signals = seen_through((seen_as or names)[group], 80 if number in short else n_samples, number)
            signals[list({(missing_of or {}).get(group)} - {None})] = np.nan
            np.save(study.ready / f"sub-{number}" / f"{group}.npy", signals)
            if group in (events or {}):
                (study.ready / f"sub-{number}" / f"{group}_events.tsv").write_text(events[group])
    held_out = [f"sub-{number}" for number in validation]
    study.lists["training"] = [name for name in study.runs if name not in held_out]
    study.lists["validation"] = held_out
    study.create().close()
    with h5py.File(study.target, "a") as file:
        for group, numbers in members.items():
            for number in set(everyone) - set(numbers):
                del file[f"subjects/sub-{number}/{group}"]
    return study.target
