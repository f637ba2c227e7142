"""What several networks say in the mean of training trials that they have left out.

Shapes: M networks, n trials, B trials at once, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dynml.models.sequence.decoding.answer.answered_trials import AnsweredTrials
from dynml.models.sequence.decoding.answer.choice import Problem
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials


def held_out_of_networks(
    model: Decoding, trials: Trials, answered: AnsweredTrials, problem: Problem
) -> dict[str, Any] | None:
    """Scores of training trials by the linear answers and the networks that have not seen them.

    Parameters
    ----------
    model : Decoding
        It is left in evaluation mode.
    trials : Trials
        Of training.
    answered : AnsweredTrials
        Of the same, in their order.
    problem : Problem
        Of the same.

    Returns
    -------
    dict or None
        None for one network, which leaves out nothing, or where there are no folds.
    """
    networks = model.networks
    left_out_MN = answered.left_out(len(networks))[:, None] == answered.fold_N
    is_held_out_N = left_out_MN.any(dim=0)
    if len(networks) == 1 or not bool(is_held_out_N.any()):
        return None
    model.eval()
    with torch.no_grad():
        parts = [model.by_network(windows) for windows in windows_of_trials(trials, left_out_MN.device)]
    added_MNK = torch.cat(parts, dim=1)
    share_MN = left_out_MN / left_out_MN.sum(dim=0).clamp(min=1)
    added_NK = (added_MNK * share_MN[:, :, None]).sum(dim=0)
    logits = (answered.logits_NK + model.network_share * added_NK).double().cpu().numpy()
    chosen = np.flatnonzero(is_held_out_N.cpu().numpy())
    return {
        "n_networks": len(networks),
        "n_folds": len(torch.unique(answered.left_out(len(networks)))),
        "n_trials": len(chosen),
        "held_out": problem.part(chosen, ()).scores(logits[chosen]),
    }
