"""The recurrent encoder and decoder against an LSTM written step by step in NumPy."""

import numpy as np
import pytest
import torch

from dynml.models.sequence.backbones.recurrent import RecurrentDecoder, RecurrentEncoder

pytestmark = pytest.mark.processor

D = 5
LENGTHS = (6, 1, 4)


def shaken(module, seed=5):
    """The module in float64 and evaluation mode, with parameters of which none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64) + 0.05)
    return module.eval()


def windows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), max(LENGTHS), D, generator=generator, dtype=torch.float64), torch.tensor(LENGTHS)


def real():
    return torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


# ---------------------------------------------------------------------- written out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(weights, suffix, token, hidden, cell):
    """One step of an LSTM; gates in torch's order: input, forget, candidate, output."""
    gates = weights[f"weight_ih_l0{suffix}"] @ token + weights[f"bias_ih_l0{suffix}"]
    gates = gates + weights[f"weight_hh_l0{suffix}"] @ hidden + weights[f"bias_hh_l0{suffix}"]
    enter, keep, candidate, leave = np.split(gates, 4)
    cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(candidate)
    return sigmoid(leave) * np.tanh(cell), cell


def weights_of(module):
    return {name: value.numpy() for name, value in module.state_dict().items()}


def normalized(weights, vector):
    centred = vector - vector.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * weights["0.weight"] + weights["0.bias"]


def code_written_out(encoder, tokens):
    """Code of one window without padding."""
    for layer, lstm in enumerate(encoder.lstms):
        weights, outputs, last = weights_of(lstm), [np.zeros(D) for _ in tokens], []
        for suffix, order in (("", range(len(tokens))), ("_reverse", reversed(range(len(tokens))))):
            hidden, cell = np.zeros(D), np.zeros(D)
            for t in order:
                hidden, cell = lstm_step(weights, suffix, tokens[t], hidden, cell)
                outputs[t] = outputs[t] + hidden / 2
            last.append(hidden)
        if layer < len(encoder.between):
            norm = weights_of(encoder.between[layer])
            tokens = [normalized(norm, output + token) for output, token in zip(outputs, tokens)]
    return (last[0] + last[1]) / 2


def unfolded_written_out(decoder, code, n_times, previous=None):
    """Outputs of one window, (n_times, D); `previous[t]` is what is fed at step t > 0, None feeds outputs back."""
    states = [(code, np.zeros(D)) for _ in decoder.lstms]
    readout, outputs = weights_of(decoder.output), []
    for t in range(n_times):
        token = code if t == 0 else outputs[-1] if previous is None else previous[t]
        for layer, lstm in enumerate(decoder.lstms):
            states[layer] = lstm_step(weights_of(lstm), "", token, *states[layer])
            hidden = states[layer][0]
            if layer < len(decoder.between):
                token = normalized(weights_of(decoder.between[layer]), hidden + token)
        outputs.append(readout["1.weight"] @ hidden + readout["1.bias"])
    return np.array(outputs)


# ---------------------------------------------------------------------- encoder


@pytest.mark.parametrize("n_layers", [1, 3])
def test_code_is_the_one_written_out(n_layers):
    encoder = shaken(RecurrentEncoder(D, n_layers))
    inputs, lengths = windows()
    codes = encoder(inputs, lengths)
    assert codes.shape == (3, D)
    for number, length in enumerate(LENGTHS):
        expected = code_written_out(encoder, list(inputs[number, :length].numpy()))
        np.testing.assert_allclose(codes[number].detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_padding_never_enters_the_encoder(n_layers):
    encoder = shaken(RecurrentEncoder(D, n_layers))
    inputs, lengths = windows()
    filled = torch.where(real()[:, :, None], inputs, torch.nan).requires_grad_()
    codes = encoder(filled, lengths)
    torch.testing.assert_close(codes, encoder(inputs, lengths), rtol=0, atol=0)
    codes.square().sum().backward()
    assert not filled.grad[~real()].any()
    assert bool(filled.grad[real()].ne(0).all())


def test_every_layer_of_the_encoder_starts_from_nothing():
    """A window of one sample: with no state handed on, each layer is one step from zeros."""
    encoder = shaken(RecurrentEncoder(D, 2))
    token = np.random.default_rng(0).normal(size=D)
    steps = [lstm_step(weights_of(encoder.lstms[0]), s, token, np.zeros(D), np.zeros(D))[0] for s in ("", "_reverse")]
    token = normalized(weights_of(encoder.between[0]), np.mean(steps, axis=0) + token)
    steps = [lstm_step(weights_of(encoder.lstms[1]), s, token, np.zeros(D), np.zeros(D))[0] for s in ("", "_reverse")]
    inputs, _ = windows()
    inputs[1, 0] = torch.tensor(np.random.default_rng(0).normal(size=D))
    code = encoder(inputs, torch.tensor(LENGTHS))[1]
    np.testing.assert_allclose(code.detach().numpy(), np.mean(steps, axis=0), atol=1e-12)


def test_order_of_the_batch_does_not_matter():
    encoder, decoder = shaken(RecurrentEncoder(D, 2)), shaken(RecurrentDecoder(D, 2))
    inputs, lengths = windows()
    order = [2, 0, 1]
    codes = encoder(inputs, lengths)
    torch.testing.assert_close(encoder(inputs[order], lengths[order]), codes[order], rtol=0, atol=1e-14)
    torch.testing.assert_close(decoder(codes[order], 4), decoder(codes, 4)[order], rtol=0, atol=1e-14)


# ---------------------------------------------------------------------- decoder


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("forced", [True, False])
def test_outputs_are_those_written_out(n_layers, forced):
    decoder = shaken(RecurrentDecoder(D, n_layers))
    previous, _ = windows(seed=1)
    codes = torch.tanh(torch.randn(3, D, dtype=torch.float64))
    outputs = decoder(codes, 6, previous if forced else None)
    for number in range(3):
        fed = previous[number].numpy() if forced else None
        expected = unfolded_written_out(decoder, codes[number].numpy(), 6, fed)
        np.testing.assert_allclose(outputs[number].detach().numpy(), expected, atol=1e-12)


def test_an_output_follows_from_earlier_targets_alone():
    """Targets enter one step late, as a caller shifts them; output t must not move with target t or a later one."""
    decoder = shaken(RecurrentDecoder(D, 2))
    targets, _ = windows(seed=1)
    codes = torch.tanh(torch.randn(3, D, dtype=torch.float64))

    def outputs_of(targets):
        return decoder(codes, 6, torch.cat([torch.full((3, 1, D), torch.nan), targets[:, :-1]], dim=1))

    before = outputs_of(targets)
    for t in range(6):
        changed = targets.clone()
        changed[:, t:] += 1.0
        after = outputs_of(changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1], rtol=0, atol=0)
        if t < 5:
            assert bool((after[:, t + 1] - before[:, t + 1]).abs().amax(-1).gt(1e-4).all())


def test_forcing_its_own_outputs_is_running_freely():
    decoder = shaken(RecurrentDecoder(D, 2))
    codes = torch.tanh(torch.randn(3, D, dtype=torch.float64))
    free = decoder(codes, 6, None)
    forced = decoder(codes, 6, torch.cat([torch.zeros(3, 1, D), free[:, :-1]], dim=1))
    torch.testing.assert_close(forced, free, rtol=0, atol=1e-12)


def test_more_times_do_not_change_the_first_ones():
    decoder = shaken(RecurrentDecoder(D, 2))
    codes = torch.tanh(torch.randn(3, D, dtype=torch.float64))
    torch.testing.assert_close(decoder(codes, 9)[:, :4], decoder(codes, 4), rtol=0, atol=1e-14)


# ---------------------------------------------------------------------- counts, initial values, ways to run


def test_parameter_counts_of_the_published_sizes():
    """768 units and two layers a part: 32,261,632 with embedder, embedding of time, pooler and un-embedder."""
    with torch.device("meta"):
        encoder, decoder = RecurrentEncoder(768, 2), RecurrentDecoder(768, 2)
    n_parameters = sum(p.numel() for part in (encoder, decoder) for p in part.parameters())
    assert n_parameters + 788_736 + 1501 * 768 + 590_592 + (768 * 1024 + 1024) == 32_261_632


def test_initial_values():
    lstm = RecurrentEncoder(24, 2).lstms[1]
    for suffix in ("", "_reverse"):
        recurrent = getattr(lstm, f"weight_hh_l0{suffix}")
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(24), atol=1e-5, rtol=0)
        expected = torch.zeros(96)
        expected[24:48] = 1
        assert torch.equal(getattr(lstm, f"bias_ih_l0{suffix}"), expected)
        assert not getattr(lstm, f"bias_hh_l0{suffix}").any()
        assert float(getattr(lstm, f"weight_ih_l0{suffix}").detach().abs().max()) <= np.sqrt(6 / (24 + 96))


def test_dropout_acts_between_layers_and_before_the_readout_in_training_alone():
    encoder, decoder = shaken(RecurrentEncoder(D, 2, dropout=0.5)), shaken(RecurrentDecoder(D, 2, dropout=1.0))
    inputs, lengths = windows()
    assert torch.equal(encoder(inputs, lengths), encoder(inputs, lengths))
    assert not torch.equal(encoder.train()(inputs, lengths), encoder(inputs, lengths))
    silent = decoder.train()(torch.ones(2, D, dtype=torch.float64), 4)
    assert torch.equal(silent, decoder.output[1].bias.expand(2, 4, D))


@pytest.mark.parametrize("forced", [True, False])
def test_runs_in_mixed_precision(forced):
    encoder, decoder = shaken(RecurrentEncoder(D, 2)).float(), shaken(RecurrentDecoder(D, 2)).float()
    inputs, lengths = windows()
    inputs = inputs.float()
    expected = decoder(encoder(inputs, lengths), 6, inputs if forced else None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = decoder(encoder(inputs, lengths), 6, inputs if forced else None)
    outputs.float().sum().backward()
    assert 0 < float((outputs.float() - expected).detach().abs().max()) < 0.2
    assert bool(encoder.lstms[0].weight_hh_l0.grad.isfinite().all())
