from dynml.analysis.spectra.settings import Band
from dynml.analysis.spectra.static import (
    amplitude_envelope_correlation,
    sliding_correlations,
)
from dynml.store.reading import Store

with Store("store.hdf5") as store:
    signals = store.read("sub-001", "signals")
    segments = store.segments("sub-001", "signals")
envelopes = amplitude_envelope_correlation(signals, segments, 250, Band("alpha", 8, 13))
starts, windows = sliding_correlations(signals, segments, window=500, step=250)
