"""After any chain, the store's source samples say where in the original recording a row lies."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.data_warnings import DataWarnings
from dynml.preparation import chain
from dynml.recording import recording_of_runs

RATE = 240.0
STRETCHES = [np.array([[3, 700], [711, 1500]]), np.array([[0, 900]])]
CENTRED = [
    {"step": "filter", "high_frequency": 20},
    {"step": "filter", "low_frequency": 2, "high_frequency": 20},
    {"step": "notch", "frequency": 13, "quality": 2},
    {"step": "moving_average", "window_length": 3},
    {"step": "moving_average", "window_length": 9},
    {"step": "time_delay_embedding", "n_embeddings": 3},
    {"step": "select_channels", "channels": ["b"]},
    "amplitude_envelope",
]
RATES = {120: 2, 80: 3, 60: 4, 96: 2.5, 100: 2.4}


@st.composite
def chains(draw):
    """Some steps, one downsampling among them or none; embedding and selection at most once, selection first."""
    steps = draw(st.lists(st.sampled_from(CENTRED), max_size=4, unique_by=lambda step: json.dumps(step)))
    steps.sort(key=lambda step: isinstance(step, dict) and step["step"] == "time_delay_embedding")
    steps.sort(key=lambda step: not (isinstance(step, dict) and step["step"] == "select_channels"))
    rate = draw(st.sampled_from([None, *RATES]))
    if rate is not None:
        place = draw(st.integers(1 if "channels" in str(steps[:1]) else 0, len(steps)))
        steps.insert(place, {"step": "downsample", "sampling_frequency": rate})
    return steps, RATES.get(rate, 1)


@settings(max_examples=50, deadline=None)
@given(chains(), st.integers(0, 2), st.floats(0.35, 0.65))
def test_an_impulse_is_found_at_the_row_that_source_samples_say(chosen, segment, share):
    steps, step = chosen
    run, (start, stop) = [0, 0, 1][segment], [*STRETCHES[0], *STRETCHES[1]][segment]
    impulse = int(start + 60 * round((stop - start) * share / 60))
    runs = [np.zeros((1500, 2)), np.zeros((900, 2))]
    runs[run][impulse, 1] = 1.0
    recording = recording_of_runs(runs, sampling_frequency=RATE, channel_names=("a", "b"), stretches=STRETCHES)
    found = chain.applied(chain.chosen_steps(steps), recording, "s", DataWarnings())

    first, last = found.segments[segment].tolist()
    sample, its_run = found.source_samples[segment].tolist()
    assert its_run == run
    assert found.source_step == step
    place = first + (impulse - sample - found.source_offset) / step
    column = next(i for i, name in enumerate(found.channel_names) if name in ("b", "b@+0"))
    # All of these steps treat past and future alike, so that what becomes of the impulse lies around its place.
    # A place between two rows is met no better than the new rate allows; an error of one row would be a whole one.
    nearby = np.arange(round(place) - 25, round(place) + 26)
    energy = np.square(found.signals[nearby, column])
    assert energy.sum() > 1e-8
    assert abs((energy * nearby).sum() / energy.sum() - place) < 0.35
    assert first < nearby[0] < nearby[-1] < last
    # Nothing of it is in any other segment.
    for other in {0, 1, 2} - {segment}:
        begin, end = found.segments[other].tolist()
        assert np.abs(found.signals[begin:end, column]).max() < 1e-12


def test_every_row_of_a_ramp_holds_its_own_original_sample():
    # The ramp's value is the sample's number, so each row says where it comes from.
    runs = [np.arange(1500.0)[:, None], np.arange(900.0)[:, None]]
    recording = recording_of_runs(runs, sampling_frequency=RATE, stretches=STRETCHES)
    steps = [
        {"step": "downsample", "sampling_frequency": 100},
        {"step": "moving_average", "window_length": 5},
        {"step": "time_delay_embedding", "n_embeddings": 7},
    ]
    found = chain.applied(chain.chosen_steps(steps), recording, "s", DataWarnings())
    for (start, stop), (sample, _) in zip(found.segments.tolist(), found.source_samples.tolist()):
        said = sample + found.source_offset + np.arange(stop - start) * found.source_step
        held = found.signals[start:stop, found.channel_names.index("channel_0@+0")]
        inner = slice(30, -30)  # at the ends the filter against aliasing leans on the padding
        assert np.abs(said - held)[inner].max() < 1e-3
