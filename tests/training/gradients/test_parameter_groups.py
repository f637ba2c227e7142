"""Which parameters decay, and with which learning rate each of them learns."""

import pytest
import torch
from small_model import OneStepAhead

from dynml.errors import CheckpointError, ConfigurationError
from dynml.training.config import TrainerConfig
from dynml.training.gradients import optimization
from dynml.training.gradients.learning import GradientLearner
from dynml.training.gradients.optimization import build_optimizer, set_learning_rate
from dynml.training.processes import Processes


class Layers(torch.nn.Module):
    """One of everything, with the names of what is a matrix."""

    matrices = {"linear.weight", "tokens", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 4)
        self.linear = torch.nn.Linear(4, 5)
        self.norm = torch.nn.LayerNorm((5, 4))
        self.batch_norm = torch.nn.BatchNorm1d(4)
        self.recurrent = torch.nn.LSTM(4, 3)
        self.tokens = torch.nn.Parameter(torch.ones(2, 4))
        self.scale = torch.nn.Parameter(torch.ones(4))


class Tied(Layers):
    """The embedding serves as the last layer, too."""

    def __init__(self):
        super().__init__()
        self.linear.weight = self.embedding.weight


class Graded(Layers):
    """Lower layers learn more slowly; what is not named learns as fast as the run says."""

    def parameter_groups(self):
        return [(0.25, list(self.embedding.parameters())), (0.5, list(self.linear.parameters()))]


def groups_of(config, model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(config, model)
    return optimizer, [({names[id(p)] for p in group["params"]}, group) for group in optimizer.param_groups]


def test_all_parameters_decay_in_one_group_by_default():
    _, groups = groups_of(TrainerConfig(weight_decay=0.3), Layers())
    assert [(len(names), group["weight_decay"]) for names, group in groups] == [(13, 0.3)]


def test_only_matrices_decay_when_asked_for():
    _, groups = groups_of(TrainerConfig(weight_decay=0.3, weight_decay_on="matrices"), Layers())
    decaying = {group["weight_decay"]: names for names, group in groups}
    assert decaying[0.3] == Layers.matrices
    assert len(decaying[0.0]) == 13 - len(Layers.matrices)


def test_a_matrix_that_is_tied_to_an_embedding_does_not_decay():
    _, groups = groups_of(TrainerConfig(weight_decay=0.3, weight_decay_on="matrices"), Tied())
    assert {n for names, group in groups if group["weight_decay"] for n in names} == Layers.matrices - {"linear.weight"}


def test_decay_without_a_gradient_shrinks_matrices_alone():
    model = Layers()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(TrainerConfig(weight_decay=0.3, weight_decay_on="matrices", learning_rate=0.1), model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.3 if name in Layers.matrices else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, rtol=1e-6, atol=0)


def test_layers_learn_with_their_factor_of_the_rate():
    model = Graded()
    model.scale.requires_grad_(False)
    optimizer, groups = groups_of(TrainerConfig(weight_decay_on="matrices"), model)
    set_learning_rate(optimizer, 0.08)
    rates = {name: group["lr"] for names, group in groups for name in names}
    assert (rates["embedding.weight"], rates["linear.weight"], rates["linear.bias"]) == (0.02, 0.04, 0.04)
    assert {rates[name] for name in rates if name.split(".")[0] not in ("embedding", "linear")} == {0.08}
    assert "scale" not in rates
    # Matrices and the rest of one factor are two groups: linear's weight decays, its bias does not.
    assert len(groups) == 5


@pytest.mark.parametrize("factor", [0.0, float("inf"), -1.0])
def test_factors_that_are_no_learning_rate_are_refused(factor):
    model = Layers()
    model.parameter_groups = lambda: [(factor, [model.scale])]
    with pytest.raises(ConfigurationError, match=r"parameter_groups\(\)"):
        build_optimizer(TrainerConfig(), model)


def test_a_parameter_in_two_groups_is_refused():
    model = Layers()
    model.parameter_groups = lambda: [(0.5, [model.scale]), (0.1, [model.scale])]
    with pytest.raises(ConfigurationError, match="twice"):
        build_optimizer(TrainerConfig(), model)


def test_settings_of_adam_reach_it():
    config = TrainerConfig(adam_beta_1=0.8, adam_beta_2=0.95, adam_epsilon=1e-6)
    group = build_optimizer(config, Layers()).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.8, 0.95), 1e-6)


def test_a_restored_optimizer_keeps_its_moments_but_takes_the_settings_of_the_run():
    def learner(model, **settings):
        return GradientLearner.for_model(model, TrainerConfig(**settings), Processes())

    model = OneStepAhead(3)
    first = learner(model, weight_decay=0.2)
    model(torch.ones(1, 4, 3)).sum().backward()
    first.optimizer.step()
    set_learning_rate(first.optimizer, 0.5)
    second = learner(model, weight_decay=0.1)
    second.load_state(first.optimizer.state_dict())
    group = second.optimizer.param_groups[0]
    assert (group["weight_decay"], group["lr"], second.learning_rate) == (0.1, 0.5, 0.5)
    moments = second.optimizer.state[model.linear.weight]["exp_avg"]
    torch.testing.assert_close(moments, first.optimizer.state[model.linear.weight]["exp_avg"], rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="groups of"):
        learner(OneStepAhead(3), weight_decay_on="matrices").load_state(first.optimizer.state_dict())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_small_parameters_are_stepped_together_to_the_numbers_of_each_alone(optimizer, monkeypatch):
    found = []
    for limit in (optimization.SMALL_PARAMETER, 0):
        monkeypatch.setattr(optimization, "SMALL_PARAMETER", limit)
        torch.manual_seed(0)
        model = Graded()
        made = build_optimizer(TrainerConfig(optimizer=optimizer, weight_decay=0.1), model)
        together = made.defaults["foreach"] if optimizer == "sgd" else made.defaults["fused"]
        assert bool(together) is bool(limit)
        for _ in range(5):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape)
            made.step()
        found.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)
