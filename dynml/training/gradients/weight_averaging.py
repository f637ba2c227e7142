"""An exponential moving average of the weights, which is validated and reported while training goes on without it.

    average += (weights - average) * (1 - decay_t)        after each step t that was made, from 1
    decay_t  = min(decay, t / (9 + t))                    so that the weights of the start are soon forgotten

Buffers of the model are not averaged: they are those of the last step. (Polyak & Juditsky 1992, SIAM Journal on
Control and Optimization 30:838, for averaging; the rising decay is that of common practice.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


class WeightAverage:
    """Averages the trained parameters of a model, and exchanges them with the model's own where asked to.

    Parameters
    ----------
    model : torch.nn.Module
        On its device already.
    decay : float
        Share of the average that a step keeps, once many were made.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        self._names = list(trained)
        self._parameters: list[torch.Tensor] = list(trained.values())
        self._decay = decay
        self._is_in_model = False
        self.begin()

    @classmethod
    def for_model(cls, model: torch.nn.Module, config: Any) -> WeightAverage | None:
        """Make the average that a config asks for, or None."""
        decay = getattr(config, "weight_averaging", None)
        return None if decay is None else cls(model, decay)

    def begin(self) -> None:
        """Begin at the model's present weights."""
        device = self._parameters[0].device if self._parameters else torch.device("cpu")
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._n_updates = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, made: torch.Tensor | bool) -> None:
        """Move on by one step; by nothing if it was not made, which may be known on the device alone.

        Parameters
        ----------
        made : bool or Tensor, (), bool
        """
        assert not self._is_in_model
        if not self._parameters or made is False:
            return
        self._n_updates += made
        n_updates = self._n_updates.double()
        decay = (n_updates / (9 + n_updates)).clamp(max=self._decay)
        share = (1 - decay) * made
        differences = torch._foreach_sub(self._parameters, self._averages)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(self._averages, differences)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Give the model the averaged weights for a while."""
        with self._exchanged(not self._is_in_model):
            yield

    @contextlib.contextmanager
    def out_of_model(self) -> Iterator[None]:
        """Give the model the weights that it trains with for a while."""
        with self._exchanged(self._is_in_model):
            yield

    def state_dict(self) -> dict[str, Any]:
        """Averages and how many steps they went through."""
        with self.out_of_model():
            averages = {name: tensor.cpu().clone() for name, tensor in zip(self._names, self._averages)}
        return {"averages": averages, "n_updates": int(self._n_updates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        assert not self._is_in_model
        for name, tensor in zip(self._names, self._averages):
            tensor.copy_(state["averages"][name])
        self._n_updates.fill_(state["n_updates"])

    @contextlib.contextmanager
    def _exchanged(self, is_needed: bool) -> Iterator[None]:
        if not is_needed:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # By content, so that whatever refers to the parameters (optimizer, compiled code) keeps doing so.
        for parameter, average in zip(self._parameters, self._averages):
            own = parameter.clone()
            parameter.copy_(average)
            average.copy_(own)
        self._is_in_model = not self._is_in_model
