"""The table that is printed before training: parameters per layer, in all and trained."""

from __future__ import annotations

import html
from typing import NamedTuple

import torch


class ParameterRow(NamedTuple):
    """One layer of the table."""

    layer: str
    shape: str
    n_parameters: int
    n_trained: int


class Summarized:
    """Gives a model words for what it is."""

    def summary(self) -> str:
        """Table of the parameters by layer, and their number in all."""
        assert isinstance(self, torch.nn.Module)
        return model_summary(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"


def parameter_table(model: torch.nn.Module) -> list[ParameterRow]:
    """Rows of a model: its own `parameter_table()` if it has one, else one row for each module with parameters."""
    own = getattr(model, "parameter_table", None)
    if own is not None:
        return [ParameterRow(*row) for row in own()]
    rows = []
    for name, module in model.named_modules():
        parameters = list(module.parameters(recurse=False))
        if parameters:
            shapes = ", ".join("x".join(map(str, parameter.shape)) or "1" for parameter in parameters)
            trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
            rows.append(ParameterRow(name or type(model).__name__, shapes, sum(p.numel() for p in parameters), trained))
    return rows


def model_summary(model: torch.nn.Module) -> str:
    """Text of the table, with counts in plain digits."""
    rows = parameter_table(model)
    total, trained = sum(row.n_parameters for row in rows), sum(row.n_trained for row in rows)
    cells = [
        ("layer", "shape", "parameters", "trained"),
        *((r.layer, r.shape, str(r.n_parameters), str(r.n_trained)) for r in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        f"  {layer:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}  {learnt:>{widths[3]}}"
        for layer, shape, count, learnt in cells
    ]
    footer = f"Parameters: {total} in all, {trained} trained, {total - trained} fixed"
    return "\n".join([f"Model: {type(model).__name__}", *lines, footer])
