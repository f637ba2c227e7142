"""Whether locking is found where it is, and how often it is where it is not: shifts within runs and sign flips.

    python benchmarks/responses.py [N_NULLS]

Participants like those of a localizer: one run of 200 volumes of 2 s, four conditions of ten blocks at jittered
distances, six states that a haemodynamic response to the first condition favours in half of the participants. The
states' series are simulated as they are, so that the tests are measured and not the training of a model.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from nilearn.glm.first_level import compute_regressor

from dynml.analysis.responses.epochs import Window, cut_epochs
from dynml.analysis.responses.group import group_responses
from dynml.analysis.responses.means import TrialSums
from dynml.analysis.responses.participants import ResponseSettings, participant_responses
from dynml.analysis.responses.series import Onsets, SubjectSeries
from dynml.analysis.responses.sign_flips import sign_flip_p

N_STATES, N_ROWS, RATE, CONDITIONS = 6, 200, 0.5, ("a", "b", "c", "d")
N_NULLS = 200
"""Of the results that are kept."""
STAY, GAIN, GROUP = 0.8, 4.0, 10
"""Probability that a state goes on; how much the response favours one, in logits; participants of a group."""


def participant(seed, locked):
    """Simulate one participant."""
    generator = np.random.default_rng(seed)
    onsets = np.cumsum(generator.integers(3, 7, 40)) + generator.random(40) - 2
    onsets = onsets[onsets < N_ROWS - 6]
    condition = generator.permutation(np.arange(len(onsets)) % 4)
    own = onsets[condition == 0] / RATE
    blocks = np.stack([own, np.full(len(own), 4.0), np.ones(len(own))])
    response = compute_regressor(blocks, "glover", np.arange(N_ROWS) / RATE)[0][:, 0]
    states = np.zeros(N_ROWS, dtype=int)
    for row in range(1, N_ROWS):
        weights = np.ones(N_STATES)
        weights[1] = np.exp(GAIN * response[row] / response.max()) if locked else 1.0
        stays = generator.random() < STAY - 0.5 * locked * response[row] / response.max()
        states[row] = states[row - 1] if stays else generator.choice(N_STATES, p=weights / weights.sum())
    return SubjectSeries(
        subject=f"sub-{seed}",
        participant=f"sub-{seed}",
        values=np.eye(N_STATES, dtype=np.float32)[states],
        valid=np.ones(N_ROWS, dtype=bool),
        masked=np.zeros(N_ROWS, dtype=bool),
        runs=np.array([[0, N_ROWS]]),
        run_names=("run",),
        onsets=Onsets(row=onsets, duration=np.full(len(onsets), 2), condition=condition),
        sampling_frequency=RATE,
    )


def smallest_p(series, **settings):
    """Test the first condition; smallest p over states, and times if any."""
    found = participant_responses([series], ResponseSettings(**settings))
    return float(np.nanmin(found.locking[0].p)), found


def smallest_p_of_group(seeds, settings):
    """Flip signs of unlocked participants, whose own locking is not tested."""
    deviations = []
    for seed in seeds:
        series = participant(seed, locked=False)
        sums = TrialSums(len(settings.conditions), len(settings.window), N_STATES)
        sums.add(cut_epochs(series, settings.window))
        deviations.append((sums.mean[0] - series.values.mean(axis=0)).ravel())
    return np.nanmin(sign_flip_p(np.stack(deviations))[0])


def main(n_nulls):
    """Count what is found."""
    begun = time.monotonic()
    common = {"conditions": CONDITIONS, "window": Window.of_seconds(0, 16, RATE), "n_surrogates": 200}
    null_model, null_epochs, found_model, found_epochs, nulls, locked = [], [], [], [], [], []
    for seed in range(n_nulls):
        series = participant(seed, locked=False)
        null_model.append(smallest_p(series, **common, haemodynamic="glover")[0])
        p, found = smallest_p(series, **common)
        null_epochs.append(p)
        nulls.append(found)
        if seed < n_nulls // 4:
            series = participant(10_000 + seed, locked=True)
            found_model.append(smallest_p(series, **common, haemodynamic="glover")[0])
            p, found = smallest_p(series, **common)
            found_epochs.append(p)
            locked.append(found)
    settings = ResponseSettings(**common)
    group_p = [
        smallest_p_of_group(range(20_000 + GROUP * n, 20_000 + GROUP * (n + 1)), settings) for n in range(n_nulls)
    ]
    results = {
        "n_nulls": n_nulls,
        "false_positives_of_a_participant": {
            "haemodynamic_model": float(np.mean(np.array(null_model) <= 0.05)),
            "epochs": float(np.mean(np.array(null_epochs) <= 0.05)),
        },
        "locked_participants_found": {
            "haemodynamic_model": float(np.mean(np.array(found_model) <= 0.05)),
            "epochs": float(np.mean(np.array(found_epochs) <= 0.05)),
        },
        "false_positives_of_groups_of_10": float(np.mean(np.array(group_p) <= 0.05)),
        "p_of_20_participants_half_of_them_locked": float(
            np.nanmin(group_responses([*locked[:10], *nulls[:10]], settings).p[0])
        ),
        "seconds": time.monotonic() - begun,
    }
    print(json.dumps(results, indent=2))
    if n_nulls == N_NULLS:
        (Path(__file__).parent / "results" / "responses.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else N_NULLS)
