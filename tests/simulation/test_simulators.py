"""What all functions that simulate have in common."""

import numpy as np
import pytest

from dynml import simulation
from dynml.errors import ConfigurationError
from dynml.simulation.kinds.hmm import HMMSimulationConfig

SIMULATORS = [name for name in dir(simulation) if name.startswith("simulate_")]
QUICK = {"n_subjects": 1, "n_samples": 200, "n_channels": 3, "seed": 4}


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_help_of_each_says_what_it_takes_gives_and_refuses(name):
    text = getattr(simulation, name).__doc__
    sections = [text.find(f"\n{title}\n") for title in ("Parameters", "Returns", "Raises", "Notes")]
    if sections[0] < 0:  # written as it stands in the code
        sections = [text.find(f"\n    {title}\n") for title in ("Parameters", "Returns", "Raises", "Notes")]
    assert 0 < sections[0] < sections[1] < sections[2] < sections[3]
    assert "SimulationConfig, optional" in text


def test_a_config_settings_and_a_generator_draw_the_same():
    config = HMMSimulationConfig(n_states=2, **QUICK)
    by_settings = simulation.simulate_hmm(n_states=2, **QUICK)
    by_config = simulation.simulate_hmm(config)
    by_generator = simulation.simulate_hmm(config, generator=np.random.default_rng(4))
    for other in (by_config, by_generator):
        np.testing.assert_array_equal(by_settings.time_series, other.time_series)
    with pytest.raises(ConfigurationError, match="left out where a config is given"):
        simulation.simulate_hmm(config, n_states=3)
