"""Autoregressive signals with one spectral peak, states that switch between them, and their true spectra."""

import numpy as np
from scipy.signal import lfilter

RATE = 250.0
RADIUS = 0.95


def coefficients(peak, radius=RADIUS):
    return np.array([1.0, -2 * radius * np.cos(2 * np.pi * peak / RATE), radius**2])


def resonating(generator, n_samples, peak, n_channels=1, radius=RADIUS):
    """Independent AR(2) channels of variance 1 with a peak at so many Hz, (n_samples, n_channels)."""
    noise = generator.standard_normal((n_samples + 500, n_channels))
    signals = lfilter([1.0], coefficients(peak, radius), noise, axis=0)[500:]
    return signals / np.sqrt(variance(peak, radius))


def variance(peak, radius=RADIUS):
    frequencies = np.linspace(0, RATE / 2, 20001)
    return np.trapezoid(unscaled(frequencies, peak, radius), frequencies)


def unscaled(frequencies, peak, radius=RADIUS):
    phases = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(3)) / RATE)
    return 2 / RATE / np.abs(phases @ coefficients(peak, radius)) ** 2


def true_spectrum(frequencies, peak, radius=RADIUS):
    return unscaled(np.asarray(frequencies, dtype=float), peak, radius) / variance(peak, radius)


def visited(generator, n_samples, mean_visit, n_states=2):
    """States by geometric visits of so many seconds on average, (n_samples,)."""
    switches = generator.random(n_samples) < 1 / (mean_visit * RATE)
    steps = np.where(switches, generator.integers(1, n_states, n_samples), 0)
    return np.cumsum(steps) % n_states


def switching(generator, n_samples, mean_visit, peaks=(10, 30), n_channels=2, coherent=0):
    """Signals that one of the states makes at a time: (signals, states).

    In the state `coherent` all channels share one source to three parts in four; in the others they are independent.
    """
    states = visited(generator, n_samples, mean_visit, len(peaks))
    signals = np.empty((n_samples, n_channels))
    for state, peak in enumerate(peaks):
        own = resonating(generator, n_samples, peak, n_channels)
        if state == coherent:
            shared = resonating(generator, n_samples, peak)
            own = np.sqrt(0.75) * shared + np.sqrt(0.25) * own
        signals[states == state] = own[states == state]
    return signals, states
