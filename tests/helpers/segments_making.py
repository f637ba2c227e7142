"""Recordings whose good stretches are stated."""

import numpy as np

from dynml import Recording


def recording_of(signals, segments, sampling_frequency=1.0):
    """One run of signals, of which the rows of these segments are good."""
    segments = np.array(segments)
    return Recording(
        signals=signals,
        sampling_frequency=sampling_frequency,
        channel_names=tuple(f"channel_{number}" for number in range(signals.shape[1])),
        segments=segments,
        segment_runs=np.zeros(len(segments), int),
        run_names=("run",),
        source_samples=np.stack([segments[:, 0], np.zeros(len(segments), int)], axis=1),
        events=None,
        sources=(),
        preparation=(),
        units="",
    )
