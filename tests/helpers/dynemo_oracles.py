"""DyNeMo computed a second time, in float64, one window and one sample at a time; and small runs to compare it with."""

import numpy as np
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from dynml import (
    BatchLoader,
    BatchSampler,
    Dynemo,
    DynemoConfig,
    DynemoInitializationConfig,
    DynemoTrainer,
    MultiSubjectDataset,
)

SMALL = {"sequence_length": 20, "inference_n_units": 5, "model_n_units": 4, "n_kl_annealing_epochs": 2}


# ---------------------------------------------------------------------- data


def soft_mixture(lengths=(1500, 1100, 800), n_modes=3, n_channels=6, period=60, seed=0):
    """Signals whose covariance is a mixture of modes by sinusoidal logits: signals, alpha (lists), covariances."""
    generator = np.random.default_rng(seed)
    loadings = generator.normal(size=(n_modes, n_channels, 2))
    covariances = loadings @ loadings.transpose(0, 2, 1) + 0.1 * np.eye(n_channels)
    scale = np.sqrt(covariances.diagonal(axis1=1, axis2=2).mean(0))
    covariances /= np.outer(scale, scale)
    signals, alphas = [], []
    for length in lengths:
        phases = generator.uniform(0, 2 * np.pi, n_modes)
        periods = period * np.linspace(1, 2, n_modes)
        logits = 4 * np.sin(2 * np.pi * np.arange(length)[:, None] / periods + phases)
        alpha = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        factors = np.linalg.cholesky(np.einsum("tk,kab->tab", alpha, covariances))
        signals.append(np.einsum("tab,tb->ta", factors, generator.normal(size=(length, n_channels))))
        alphas.append(alpha)
    return [one.astype(np.float32) for one in signals], alphas, covariances


def walks(lengths=(130, 90, 75), n_channels=3, seed=0):
    """Signals of slowly changing variance, for tests of numbers that need no structure."""
    generator = np.random.default_rng(seed)
    scale = [1 + 0.5 * np.sin(np.arange(n)[:, None] / 9 + np.arange(n_channels)) for n in lengths]
    return [(generator.normal(size=(n, n_channels)) * s).astype(np.float32) for n, s in zip(lengths, scale)]


# ---------------------------------------------------------------------- models and runs


def random_model(n_channels=3, seed=0, **settings):
    """A model whose numbers are all far from their initial values, in evaluation mode."""
    torch.manual_seed(seed)
    model = Dynemo(DynemoConfig(**{"n_modes": 3, **SMALL, **settings}), n_channels)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "alpha_temperature":
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        model.alpha_temperature.fill_(0.7)
        if not model.config.learn_means:
            model.means.zero_()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean += 0.3 * torch.randn(module.running_mean.shape, generator=generator)
                module.running_var += torch.rand(module.running_var.shape, generator=generator)
    return model.eval()


def dataset_of(arrays, n_validation=1):
    """The last arrays validate, the others train; rows that are NaN are masked."""
    n_training = len(arrays) - n_validation
    missing = "mask" if any(np.isnan(array).any() for array in arrays) else "error"
    return MultiSubjectDataset.from_arrays(arrays[:n_training], arrays[n_training:], missing=missing)


def trainer_of(
    folder,
    arrays,
    name="run",
    *,
    n_validation=1,
    model=None,
    initialization=None,
    sampler=None,
    loader=None,
    **settings,
):
    """Build the same run again and again."""
    dataset = dataset_of(arrays, n_validation)
    torch.manual_seed(3)
    config = DynemoConfig(**{"n_modes": 3, **SMALL, **(model or {})})
    dynemo = Dynemo(config, dataset.n_channels)
    windows = {"window_length": config.sequence_length, "batch_size_training": 3, "seed": 5, **(sampler or {})}
    return DynemoTrainer(
        dynemo,
        folder,
        name,
        BatchSampler(dataset, **windows),
        BatchLoader(dataset, dynemo, **{"seed": 5, **(loader or {})}),
        initialization=DynemoInitializationConfig(**{"method": "random", **(initialization or {})}),
        **{"max_epochs": 4, "progress": False, "n_draws": 2, **settings},
    )


# ---------------------------------------------------------------------- the model again


def double(tensor):
    return tensor.detach().double().numpy()


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def lstm_loop(layer, inputs, suffix=""):
    """Outputs (T, H) of one direction for one window, gate by gate."""
    weights = {name: double(getattr(layer, f"{name}_l0{suffix}")) for name in ("weight_ih", "weight_hh", "bias_ih")}
    hidden = cell = np.zeros(weights["weight_hh"].shape[1])
    outputs = []
    for row in inputs:
        gates = weights["weight_ih"] @ row + weights["bias_ih"] + weights["weight_hh"] @ hidden
        take, keep, new, give = np.split(gates, 4)
        cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
        hidden = sigmoid(give) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def gru_loop(layer, inputs, suffix=""):
    """The same for a GRU that resets after the recurrent product."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = {name: double(getattr(layer, f"{name}_l0{suffix}")) for name in names}
    hidden, outputs = np.zeros(weights["weight_hh"].shape[1]), []
    for row in inputs:
        reset_in, update_in, new_in = np.split(weights["weight_ih"] @ row + weights["bias_ih"], 3)
        reset_of, update_of, new_of = np.split(weights["weight_hh"] @ hidden + weights["bias_hh"], 3)
        update = sigmoid(update_in + update_of)
        new = np.tanh(new_in + sigmoid(reset_in + reset_of) * new_of)
        hidden = (1 - update) * new + update * hidden
        outputs.append(hidden)
    return np.array(outputs)


def normalized(module, hidden):
    """Layer or batch normalization of outputs (T, H), in evaluation."""
    if isinstance(module, torch.nn.Identity):
        return hidden
    if isinstance(module, torch.nn.LayerNorm):
        centred = hidden - hidden.mean(1, keepdims=True)
        return double(module.weight) * centred / np.sqrt(hidden.var(1, keepdims=True) + 1e-3) + double(module.bias)
    units = module.units
    scaled = (hidden - double(units.running_mean)) / np.sqrt(double(units.running_var) + 1e-3)
    return double(units.weight) * scaled + double(units.bias)


def stack_loop(stack, inputs):
    """Outputs of all layers of a `RecurrentStack` for one window (T, C)."""
    loop = lstm_loop if isinstance(stack.recurrent[0], torch.nn.LSTM) else gru_loop
    hidden = inputs
    for layer, normalization in zip(stack.recurrent, stack.normalization):
        directions = [loop(layer, hidden)]
        if layer.bidirectional:
            directions.append(loop(layer, hidden[::-1], "_reverse")[::-1])
        hidden = normalized(normalization, np.concatenate(directions, axis=1))
        hidden = stack.activation(torch.from_numpy(hidden)).numpy()
    return hidden


def gaussian_of(head, hidden):
    """Mean and standard deviation, (T, J) each."""
    mean, scale = (hidden @ double(layer.weight).T + double(layer.bias) for layer in (head.mean, head.scale))
    return mean, np.logaddexp(0, scale) + 1e-6


def posterior_of(model, window):
    return gaussian_of(model.posterior_head, stack_loop(model.inference_rnn, window))


def prior_of(model, theta):
    """Mean and deviation of each row's logits from the rows before; the first row is predicted from zeros."""
    past = np.concatenate([np.zeros((1, theta.shape[1])), theta[:-1]])
    return gaussian_of(model.prior_head, stack_loop(model.model_rnn, past))


def covariances_of(model):
    """Covariances (J, C, C) from the trained numbers: the lower triangle row by row, softplus on its diagonal."""
    vectors, epsilon, C = double(model.covariance_vectors), model.config.covariances_epsilon, model.n_channels
    if model.config.covariance_type == "diagonal":
        return np.stack([np.diag(np.logaddexp(0, vector) + epsilon) for vector in vectors])
    factors = np.zeros((len(vectors), C, C))
    for factor, vector in zip(factors, vectors):
        factor[np.tril_indices(C)] = vector
        np.fill_diagonal(factor, np.logaddexp(0, np.diag(factor)) + 1e-5)
    return factors @ factors.transpose(0, 2, 1) + epsilon * np.eye(C)


def alpha_of(model, theta):
    scaled = theta / model.alpha_temperature.item()
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_likelihoods_of(model, window, alpha):
    """Log-density of each sample (T,) by torch.distributions."""
    covariances = torch.from_numpy(np.einsum("tj,jab->tab", alpha, covariances_of(model)))
    means = torch.from_numpy(alpha @ double(model.means))
    return MultivariateNormal(means, covariances).log_prob(torch.from_numpy(window)).numpy()


def terms_of_window(model, window, noise=None):
    """Log-likelihood and divergence of each sample, (T,) each, for one window (T, C) and one draw."""
    window = np.asarray(window, dtype=np.float64)
    mean, scale = posterior_of(model, window)
    theta = mean if noise is None else mean + scale * np.asarray(noise, dtype=np.float64)
    prior_mean, prior_scale = prior_of(model, theta)
    posterior, prior = (
        Normal(torch.from_numpy(m), torch.from_numpy(s)) for m, s in ((mean, scale), (prior_mean, prior_scale))
    )
    divergence = kl_divergence(posterior, prior).sum(1).numpy()
    return log_likelihoods_of(model, window, alpha_of(model, theta)), divergence
