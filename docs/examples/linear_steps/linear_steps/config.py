"""Settings; this module must not import torch, so that --help is quick."""

from dataclasses import dataclass

from dynml.configuration import check_at_least


@dataclass(frozen=True, kw_only=True)
class LinearStepsConfig:
    """Predict the next sample."""

    n_lags: int = 1
    """Samples to predict from."""

    def __post_init__(self):
        check_at_least("model.n_lags", self.n_lags, 1)
