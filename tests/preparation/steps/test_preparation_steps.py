"""Each step against scipy called on each segment, against loops, and on sinusoids whose fate is known."""

from importlib.metadata import version

import numpy as np
import pytest
import scipy.signal

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.preparation import chain
from dynml.recording import Events, recording_of_runs

RATE = 250.0
STRETCHES = [np.array([[0, 300], [310, 700]]), np.array([[5, 400]])]


def recording_of(signals=None, rate=RATE, **settings):
    """Two runs of 700 and 400 samples, 3 channels, the first with a gap, the second with a late start."""
    if signals is None:
        signals = np.random.default_rng(1).normal((0.0, 50.0, -3.0), size=(1100, 3))
    signals = signals.copy()
    signals[300:310] = signals[700:705] = np.nan
    runs = [signals[:700].astype(np.float32), signals[700:].astype(np.float32)]
    return recording_of_runs(
        runs, sampling_frequency=rate, channel_names=("Fz", "Cz", "Pz"), stretches=STRETCHES, **settings
    )


def prepared(recording, *entries):
    return chain.applied(chain.chosen_steps(entries), recording, "Subject s, group g", DataWarnings())


def pieces(recording):
    return [recording.signals[start:stop] for start, stop in recording.segments.tolist()]


def expect_pieces(recording, original, function, rtol=1e-12):
    assert recording.signals.dtype == np.float64
    for found, before in zip(pieces(recording), pieces(original), strict=True):
        np.testing.assert_allclose(found, function(before.astype(np.float64)), rtol=rtol, atol=1e-11)
    inside = np.zeros(recording.n_samples, dtype=bool)
    for start, stop in recording.segments.tolist():
        inside[start:stop] = True
    assert np.isnan(recording.signals[~inside]).all()


@pytest.mark.parametrize(
    ("settings", "kind", "edges"),
    [
        ({"low_frequency": 1.0, "high_frequency": 45.0}, "bandpass", [1.0, 45.0]),
        ({"low_frequency": 4}, "highpass", 4.0),
        ({"high_frequency": 30.0, "order": 3}, "lowpass", 30.0),
    ],
)
def test_filter_is_scipys_of_each_segment(settings, kind, edges):
    original = recording_of()
    found = prepared(original, {"step": "filter", **settings})
    sections = scipy.signal.butter(settings.get("order", 5), edges, kind, fs=RATE, output="sos")
    expect_pieces(found, original, lambda piece: scipy.signal.sosfiltfilt(sections, piece, axis=0))
    note = found.preparation[-1]
    assert (note["step"], note["kind"], note["order"]) == ("filter", kind, settings.get("order", 5))
    assert {key: note[key] for key in settings} == settings
    assert note["versions"] == {"numpy": version("numpy"), "scipy": version("scipy")}


@pytest.mark.parametrize("frequency", [1e-300, 1e-12])
def test_filters_that_cannot_be_computed_are_refused(frequency):
    with pytest.raises(DataError, match="too narrow, or its frequency too low, to be computed at 250 Hz"):
        prepared(recording_of(), {"step": "notch", "frequency": frequency, "quality": 30.0})


def test_notch_is_scipys_of_each_segment():
    original = recording_of()
    found = prepared(original, {"step": "notch", "frequency": 50, "quality": 20})
    coefficients = scipy.signal.iirnotch(50, 20, fs=RATE)
    sections = scipy.signal.tf2sos(*coefficients)
    expect_pieces(found, original, lambda piece: scipy.signal.sosfiltfilt(sections, piece, axis=0))


def test_envelope_is_scipys_of_each_segment():
    original = recording_of()
    found = prepared(original, "amplitude_envelope")
    expect_pieces(found, original, lambda piece: np.abs(scipy.signal.hilbert(piece, axis=0)))


def middle_of(signals):
    return signals[len(signals) // 4 : -len(signals) // 4]


def sinusoid(frequency, n_samples=4000, rate=RATE, phase=0.3):
    return np.sin(2 * np.pi * frequency * np.arange(n_samples) / rate + phase)[:, None]


@pytest.mark.parametrize(
    ("entry", "kept", "removed"),
    [
        ({"step": "filter", "low_frequency": 8, "high_frequency": 13}, [10.0, 10.5], [2.0, 30.0, 50.0]),
        ({"step": "filter", "low_frequency": 8}, [20.0, 100.0], [1.0, 2.0]),
        ({"step": "filter", "high_frequency": 40}, [0.5, 10.0], [90.0, 110.0]),
        ({"step": "notch", "frequency": 50}, [40.0, 60.0, 5.0], [50.0]),
    ],
)
def test_sinusoids_pass_unshifted_or_are_removed(entry, kept, removed):
    for frequency in [*kept, *removed]:
        wave = sinusoid(frequency)
        found = prepared(recording_of_runs([wave], sampling_frequency=RATE), entry).signals
        expected = wave if frequency in kept else np.zeros_like(wave)
        np.testing.assert_allclose(middle_of(found), middle_of(expected), atol=0.02)


def test_filter_halves_the_amplitude_at_its_edge():
    found = prepared(
        recording_of_runs([sinusoid(20)], sampling_frequency=RATE), {"step": "filter", "high_frequency": 20}
    )
    np.testing.assert_allclose(middle_of(found.signals), 0.5 * middle_of(sinusoid(20)), atol=1e-3)


def test_envelope_of_a_modulated_wave_is_its_modulation():
    modulation = 1.0 + 0.5 * sinusoid(1.0)
    found = prepared(recording_of_runs([modulation * sinusoid(40)], sampling_frequency=RATE), "amplitude_envelope")
    np.testing.assert_allclose(found.signals, modulation, atol=1e-9)


def test_moving_average_is_the_mean_of_whole_windows():
    original = recording_of()
    found = prepared(original, {"step": "moving_average", "window_length": 7})
    assert found.segments.tolist() == [[3, 297], [313, 697], [708, 1097]]
    assert found.source_samples.tolist() == [[3, 0], [313, 0], [8, 1]]

    def by_loop(piece):
        return np.stack([piece[row - 3 : row + 4].mean(axis=0) for row in range(3, len(piece) - 3)])

    expect_pieces(found, original, by_loop)
    assert found.run_starts.tolist() == [0, 700]


def test_embedding_is_channel_major_from_late_to_early():
    original = recording_of()
    found = prepared(original, {"step": "time_delay_embedding", "n_embeddings": 5})
    assert found.channel_names[:6] == ("Fz@+2", "Fz@+1", "Fz@+0", "Fz@-1", "Fz@-2", "Cz@+2")
    assert found.segments.tolist() == [[2, 298], [312, 698], [707, 1098]]
    assert found.source_samples.tolist() == [[2, 0], [312, 0], [7, 1]]

    def by_loop(piece):
        n, n_channels = 5, piece.shape[1]
        embedded = np.empty((len(piece) - n + 1, n_channels * n))
        for t in range(len(embedded)):
            for c in range(n_channels):
                for e in range(n):
                    embedded[t, c * n + e] = piece[t + n - 1 - e, c]
        return embedded

    expect_pieces(found, original, by_loop, rtol=0)
    for row in (2, 312, 1097):
        for column, name in enumerate(found.channel_names):
            channel, lag = name.split("@")
            index = original.channel_names.index(channel)
            assert found.signals[row, column] == original.signals[row + int(lag), index]


def test_selection_keeps_the_order_named_and_exclusion_the_files():
    original = recording_of()
    chosen = prepared(original, {"step": "select_channels", "channels": ["Pz", "Fz"]})
    assert chosen.channel_names == ("Pz", "Fz")
    np.testing.assert_array_equal(chosen.signals, original.signals[:, [2, 0]])
    left = prepared(original, {"step": "select_channels", "exclude": ["Cz"]})
    assert left.channel_names == ("Fz", "Pz")
    np.testing.assert_array_equal(left.signals, original.signals[:, [0, 2]])


@pytest.mark.parametrize(("rate", "up", "down"), [(125.0, 1, 2), (100.0, 2, 5), (62.5, 1, 4), (250.0, 1, 1)])
def test_downsampling_is_scipys_of_each_segment(rate, up, down):
    original = recording_of()
    found = prepared(original, {"step": "downsample", "sampling_frequency": rate})
    assert found.sampling_frequency == rate
    assert found.source_step == down / up
    assert (found.preparation[-1]["up"], found.preparation[-1]["down"]) == (up, down)
    for after, before in zip(pieces(found), pieces(original), strict=True):
        line = np.linspace(before[0].astype(np.float64), before[-1].astype(np.float64), len(before))
        flat = scipy.signal.resample_poly(before - line, up, down, axis=0)
        places = np.arange(len(flat))[:, None] * down / up
        slope = (line[-1] - line[0]) / (len(line) - 1)
        # Phases of one sum are another filter than scipy's by 1.5e-4; with one phase, there is nothing to make alike.
        np.testing.assert_allclose(after, flat + line[0] + places * slope, rtol=1e-12, atol=1e-11 if up == 1 else 1e-3)
    assert found.source_samples.tolist() == [[0, 0], [310, 0], [5, 1]]
    assert found.segments[1, 0] == np.ceil(310 * up / down)


def waves_at(seconds):
    return np.sin(2 * np.pi * 3 * seconds + 1) + 0.5 * np.sin(2 * np.pi * 11 * seconds)


def downsampled(signals, rate):
    recording = recording_of_runs([signals[:, None]], sampling_frequency=RATE)
    return prepared(recording, {"step": "downsample", "sampling_frequency": rate}).signals[:, 0]


@pytest.mark.parametrize("rate", [100.0, 62.5, 240.0])
@pytest.mark.parametrize("level", [3e3, -1e6])
def test_downsampling_lets_levels_and_trends_pass_as_if_they_were_added_afterwards(rate, level):
    seconds = np.arange(4000) / RATE
    without = downsampled(waves_at(seconds), rate)
    found = downsampled(waves_at(seconds) + level * (1 + 0.2 * seconds), rate)
    new_seconds = np.arange(len(found)) / rate
    np.testing.assert_allclose(found - level * (1 + 0.2 * new_seconds), without, atol=1e-13 * abs(level) * 100)
    np.testing.assert_allclose(middle_of(without), middle_of(waves_at(new_seconds)), atol=3e-3)


@pytest.mark.parametrize("rate", [100.0, 240.0])
def test_downsampling_makes_no_ripple_of_a_drift_that_no_line_follows(rate):
    def signal_at(seconds):
        return waves_at(seconds) + 3e3 * np.tanh((seconds - 8) / 4)

    found = downsampled(signal_at(np.arange(4000) / RATE), rate)
    expected = signal_at(np.arange(len(found)) / rate)
    error = middle_of(found - expected)
    # scipy's own filter leaves 0.2 here.
    assert np.abs(error).max() < 0.02


def test_an_offset_of_a_million_deviations_in_float32_costs_what_its_rounding_costs():
    original = np.random.default_rng(0).normal(size=(3000, 2))
    rounded = (original + 1e6).astype(np.float32)
    found, without = (
        prepared(
            recording_of_runs([signals], sampling_frequency=RATE), {"step": "downsample", "sampling_frequency": 100}
        ).signals
        for signals in (rounded, rounded.astype(np.float64) - 1e6)
    )
    np.testing.assert_allclose(found - 1e6, without, atol=1e-8)


@pytest.mark.parametrize(
    "step",
    [
        {"step": "filter", "low_frequency": 0.5},
        {"step": "filter", "low_frequency": 0.1, "high_frequency": 40.0},
        {"step": "filter", "high_frequency": 40.0},
        {"step": "notch", "frequency": 50.0},
        {"step": "moving_average", "window_length": 5},
    ],
)
def test_filters_do_to_signals_on_an_offset_what_they_do_without(step):
    signals = np.random.default_rng(0).normal(size=(3000, 2))
    passes = "low_frequency" not in step
    for offset in (3e3, -1e6):
        plain, found = (
            prepared(recording_of_runs([one], sampling_frequency=RATE), step) for one in (signals, signals + offset)
        )
        for expected, after in zip(pieces(plain), pieces(found), strict=True):
            np.testing.assert_allclose(after - passes * offset, expected, atol=1e-5 * abs(offset) / 3e3)


def test_downsampling_keeps_slow_waves_and_removes_what_would_alias():
    slow = prepared(
        recording_of_runs([sinusoid(5)], sampling_frequency=RATE), {"step": "downsample", "sampling_frequency": 100}
    )
    np.testing.assert_allclose(middle_of(slow.signals), middle_of(sinusoid(5, 1600, 100.0)), atol=2e-3)
    fast = prepared(
        recording_of_runs([sinusoid(90)], sampling_frequency=RATE), {"step": "downsample", "sampling_frequency": 100}
    )
    assert np.abs(middle_of(fast.signals)).max() < 2e-3


def test_events_follow_to_the_nearest_rows():
    onset = np.array([0, 20, 305, 500, 699, 700, 800, 1099])
    events = Events(
        onset=onset,
        duration=np.array([20, 10, 0, 1, 1, 100, 300, 1]),
        labels={"task": np.zeros(8, dtype=np.int64)},
        names={"task": ("a",)},
    )
    original = recording_of(events=events)
    found = prepared(original, {"step": "downsample", "sampling_frequency": 62.5})
    # Run 0 has ceil(700 / 4) = 175 rows; its second segment starts at ceil(310 / 4) = 78, run 1's at 175 + ceil(5 / 4).
    assert found.segments.tolist() == [[0, 75], [78, 176], [178, 277]]
    assert found.events.onset.tolist()[:2] == [0, 5]
    assert found.events.duration.tolist()[:2] == [5, 3]
    # Sample 500 is 190 after the start of its segment: row 78 + 47.5.
    assert found.events.onset[3] == 126
    assert found.events.duration.tolist()[2:5] == [0, 1, 1]
    assert 75 <= found.events.onset[2] <= 78
    assert found.events.onset[4] == 175
    assert found.events.onset[6] == 178 + 24  # sample 100 of run 1, 95 = 23.75 rows after its segment's start
    stops = found.events.onset + found.events.duration
    assert stops.max() <= found.n_samples
    assert (np.diff(found.events.onset) >= 0).all()
    trimmed = prepared(original, {"step": "moving_average", "window_length": 5})
    np.testing.assert_array_equal(trimmed.events.onset, onset)


def test_short_segments_are_dropped_counted_and_noted():
    signals = np.random.default_rng(2).normal(size=(200, 2))
    recording = recording_of_runs(
        [signals], sampling_frequency=RATE, stretches=[np.array([[0, 20], [30, 34], [50, 200]])]
    )
    warned = DataWarnings()
    steps = chain.chosen_steps([{"step": "time_delay_embedding", "n_embeddings": 15}, "amplitude_envelope"])
    found = chain.applied(steps, recording, "Subject s, group g", warned)
    assert found.segments.tolist() == [[7, 13], [57, 193]]
    assert found.preparation[0]["segments_dropped"] == 1
    assert "segments_dropped" not in found.preparation[1]
    with pytest.warns(
        UserWarning, match=r"too short for the step 'time_delay_embedding' \(16 .*s, group g, run run_0: 1 of 3"
    ):
        warned.tell()


@pytest.mark.parametrize(
    "settings", [{"low_frequency": 1, "high_frequency": 45}, {"high_frequency": 30}, {"low_frequency": 1, "order": 4}]
)
def test_a_segment_one_sample_longer_than_the_padding_is_filtered(settings):
    step = chain.chosen_steps([{"step": "filter", **settings}])[0]
    shortest = step.shortest_segment(RATE)
    sections = step.sections(RATE)
    scipy.signal.sosfiltfilt(sections, np.zeros((shortest, 1)), axis=0)
    with pytest.raises(ValueError, match="padlen"):
        scipy.signal.sosfiltfilt(sections, np.zeros((shortest - 1, 1)), axis=0)
