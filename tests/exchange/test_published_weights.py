import dataclasses
import os
import re
from math import prod

import numpy as np
import pytest
import torch
from published_making import bert, embed, gpt2, linear, published, published_shapes

from dynml.errors import CheckpointError, ConfigurationError
from dynml.exchange.published_weights import convert_published_weights, import_published_weights, read_published_weights
from dynml.models.experiment import load_experiment
from dynml.models.sequence.objectives.tasks import masked_networks_task, masked_samples_task, single_position_task
from dynml.models.sequence.windows import Windows
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

SMALL = {"n_networks": 7, "width": 12, "n_layers": 2, "n_positions": 16, "n_rows": 31}
HEADS, PRECISION = 3, 0.2
FULL = {"n_networks": 1024, "width": 768, "n_layers": 4, "n_positions": 512, "n_rows": 1501}
COUNTS = {"csm": 31_478_016, "sequence_bert": 32_071_937, "network_bert": 32_071_425}
NEVER_USED = {"csm": 768, "sequence_bert": 768, "network_bert": 768}


def experiment_of(weights, family, tmp_path, **settings):
    path = tmp_path / "pytorch_model.bin"
    torch.save(weights, path)
    folder = ExperimentFolder(tmp_path, f"imported_{family}")
    import_published_weights(path, folder, family, **{"n_heads": HEADS, **settings})
    return load_experiment(folder.path)


def windows(n_samples=(9, 6), n_networks=7, seconds_per_sample=0.72, types=None):
    """Two windows, the second padded."""
    generator = torch.Generator().manual_seed(5)
    longest = max(n_samples)
    mask = torch.arange(longest) < torch.tensor(n_samples)[:, None]
    signals = torch.randn(len(n_samples), longest, n_networks, generator=generator) * mask[:, :, None]
    seconds = (torch.arange(longest, dtype=torch.float64) * seconds_per_sample).expand(len(n_samples), -1)
    return Windows(signals, mask, seconds, torch.arange(len(n_samples)) + 11, types)


@pytest.mark.parametrize("family", COUNTS)
def test_a_published_file_has_as_many_numbers_as_its_size_says(family):
    assert sum(prod(shape) for shape in published_shapes(family, **FULL).values()) == COUNTS[family]


def test_a_published_causal_model_with_a_pooler_has_more():
    shapes = published_shapes("csm", **FULL, pooler=True)
    assert sum(prod(shape) for shape in shapes.values()) == 32_068_608


@pytest.mark.parametrize("family", COUNTS)
def test_all_numbers_of_full_size_find_their_place(family):
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in published_shapes(family, **FULL).items()}
    converted = convert_published_weights(weights, family)
    settings = converted.settings
    assert sum(tensor.numel() for tensor in converted.weights.values()) == COUNTS[family] - NEVER_USED[family]
    assert (settings["n_heads"], settings["n_layers"], settings["feed_forward_factor"]) == (12, 4, 4)
    assert (settings["n_positions"], settings["max_seconds"], settings["time_precision"]) == (512, 300.0, 0.2)
    assert converted.n_channels == 1024


def test_a_causal_model_computes_what_the_published_one_does(tmp_path):
    weights = published("csm", **SMALL)
    model = experiment_of(weights, "csm", tmp_path).model
    given = windows()
    task = single_position_task(given)
    with torch.no_grad():
        predicted = model(task).predicted_BTC
    for window in range(2):
        position = int(task.scored[window, :, 0].nonzero())
        inputs = given.signals_BTC[window, : position + 1].clone()
        inputs[position] = weights["embedder.msk_embed"].flatten()
        states = gpt2(weights, embed(weights, inputs, given.seconds_BT[window, : position + 1], PRECISION), HEADS, 2)
        expected = linear(weights, "unembedder.model.0", states[-1])
        torch.testing.assert_close(predicted[window, position], expected, rtol=1e-4, atol=1e-4)


def test_the_class_token_of_a_causal_model_is_read_at_the_end(tmp_path):
    weights = published("csm", **SMALL)
    model = experiment_of(weights, "csm", tmp_path).model
    given = windows()
    with torch.no_grad():
        pooled = model.pooled(given)
    for window, length in enumerate((9, 6)):
        inputs = torch.cat([given.signals_BTC[window, :length], weights["embedder.cls_embed"].reshape(1, -1)])
        seconds = torch.cat([given.seconds_BT[window, :length], torch.tensor([-1.0])])
        expected = gpt2(weights, embed(weights, inputs, seconds, PRECISION), HEADS, 2)[-1]
        torch.testing.assert_close(pooled[window], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["sequence_bert", "network_bert"])
def test_a_masked_model_computes_what_the_published_one_does(tmp_path, family):
    weights = published(family, **SMALL)
    model = experiment_of(weights, family, tmp_path).model
    given = windows()
    make_task = masked_samples_task if family == "sequence_bert" else masked_networks_task
    task = make_task(given, 0.3)
    with torch.no_grad():
        predicted = model(task).predicted_BTC
    mask_token = weights["embedder.msk_embed"]
    for window, length in enumerate((9, 6)):
        hidden = task.scored.expand(given.signals_BTC.shape)[window, :length]
        token = mask_token.reshape(1, -1) if family == "sequence_bert" else mask_token[0, :length]
        inputs = torch.where(hidden, token, given.signals_BTC[window, :length])
        x = embed(weights, inputs, given.seconds_BT[window, :length], PRECISION)
        states = bert(weights, x, torch.zeros(length, dtype=torch.long), HEADS, 2)
        expected = linear(weights, "unembedder.model.0", states)
        torch.testing.assert_close(predicted[window, :length], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["sequence_bert", "network_bert"])
def test_pairs_get_separators_types_and_the_head_with_the_other_sign(tmp_path, family):
    weights = published(family, **SMALL)
    model = experiment_of(weights, family, tmp_path).model
    types = torch.tensor([[0] * 4 + [1] * 5, [0] * 3 + [1] * 6])
    given = windows((9, 9), types=types)
    task = dataclasses.replace(
        masked_samples_task(given, 0.2, torch.tensor([True, False])), scored=torch.zeros(2, 9, 1).bool()
    )
    with torch.no_grad():
        outputs = model(task)
    separator, classes = (weights[f"embedder.{name}_embed"].reshape(1, -1) for name in ("sep", "cls"))
    outside = torch.tensor([-1.0], dtype=torch.float64)
    for window, n_first in enumerate((4, 3)):
        signals, seconds = given.signals_BTC[window], given.seconds_BT[window]
        inputs = torch.cat([signals[:n_first], separator, signals[n_first:], separator, classes])
        times = torch.cat([seconds[:n_first], outside, seconds[n_first:], outside, outside])
        token_types = torch.tensor([0] * (n_first + 1) + [1] * (9 - n_first) + [1, 0])
        states = bert(weights, embed(weights, inputs, times, PRECISION), token_types, HEADS, 2)
        published_logit = linear(
            weights, "decoder.is_next_head.0", linear(weights, "decoder.pooler_layer.0", states[-1]).tanh()
        )
        torch.testing.assert_close(outputs.follows_logit_B[window], -published_logit[0], rtol=1e-4, atol=1e-4)
        expected = linear(weights, "unembedder.model.0", torch.cat([states[:n_first], states[n_first + 1 : 10]]))
        torch.testing.assert_close(outputs.predicted_BTC[window], expected, rtol=1e-4, atol=1e-4)


def test_where_width_and_networks_agree_there_is_no_map_back(tmp_path):
    sizes = {**SMALL, "n_networks": 12}
    weights = {name: tensor for name, tensor in published("csm", **sizes).items() if not name.startswith("unembedder")}
    model = experiment_of(weights, "csm", tmp_path).model
    states = torch.randn(3, 12)
    torch.testing.assert_close(model.unembedder(states), states)


def test_an_autoencoder_is_taken_over_where_both_agree(tmp_path):
    weights = published("autoencoder", **SMALL)
    experiment = experiment_of(weights, "autoencoder", tmp_path, n_heads=None)
    own = experiment.model.state_dict()
    assert experiment.model.config.n_layers == 2
    assert experiment.parameters["imported"]["without_place"] == [
        "decoder.encoder.pooler_layer.1.weight",
        "decoder.encoder.pooler_layer.1.bias",
    ]
    lstm = torch.nn.LSTM(12, 12, batch_first=True, bidirectional=True)
    prefix = "decoder.encoder.lstms.1."
    lstm.load_state_dict({name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)})
    inputs = torch.randn(2, 5, 12)
    with torch.no_grad():
        torch.testing.assert_close(experiment.model.encoder.lstms[1](inputs)[0], lstm(inputs)[0])
    torch.testing.assert_close(own["decoder.output.1.weight"], weights["decoder.decoder.linear_output_layer.1.weight"])
    torch.testing.assert_close(own["encoder.between.0.0.bias"], weights["decoder.encoder.layer_norms.0.0.bias"])


def test_a_pooler_of_a_causal_model_is_left_out_and_named(tmp_path):
    weights = published("csm", **SMALL, pooler=True)
    converted = convert_published_weights(weights, "csm", n_heads=HEADS)
    assert converted.left_out == ("decoder.pooler_layer.0.weight", "decoder.pooler_layer.0.bias")


class TestFaults:
    @pytest.mark.parametrize("family", ["csm", "sequence_bert", "network_bert", "autoencoder"])
    def test_each_missing_name_is_an_error(self, family):
        weights = published(family, **SMALL)
        needed = [name for name in published_shapes(family, **SMALL) if "wte" not in name and "word_emb" not in name]
        for name in needed:
            if family == "autoencoder" and "pooler" in name:
                continue
            fewer = {other: tensor for other, tensor in weights.items() if other != name}
            with pytest.raises(CheckpointError, match=f"lacks .*{re.escape(name)}"):
                convert_published_weights(fewer, family, n_heads=HEADS)

    def test_a_missing_name_is_told(self):
        weights = published("csm", **SMALL)
        del weights["decoder.transformer.h.1.mlp.c_fc.bias"]
        with pytest.raises(CheckpointError, match=r"lacks decoder.transformer.h.1.mlp.c_fc.bias, which weights of csm"):
            convert_published_weights(weights, "csm", n_heads=HEADS)

    @pytest.mark.parametrize("name", ["decoder.decoding_head.0.weight", "decoder.transformer.h.0.crossattention.bias"])
    def test_an_unknown_name_is_told(self, name):
        weights = published("csm", **SMALL) | {name: torch.ones(2)}
        with pytest.raises(CheckpointError, match=f"holds {name}, which weights of csm do not have"):
            convert_published_weights(weights, "csm", n_heads=HEADS)

    def test_weights_of_another_family_are_refused(self):
        for family, other in (("csm", "sequence_bert"), ("sequence_bert", "csm"), ("autoencoder", "csm")):
            with pytest.raises(CheckpointError, match=f"weights of {other}"):
                convert_published_weights(published(family, **SMALL), other, n_heads=HEADS)
        with pytest.raises(CheckpointError, match="what becomes mask_token_T has the shape"):
            convert_published_weights(published("sequence_bert", **SMALL), "network_bert", n_heads=HEADS)

    def test_a_wrong_shape_is_told(self):
        weights = published("csm", **SMALL)
        weights["decoder.transformer.h.0.attn.c_attn.weight"] = torch.ones(36, 12)
        with pytest.raises(CheckpointError, match=r"attention.queries_keys_values.weight has the shape \(12, 36\)"):
            convert_published_weights(weights, "csm", n_heads=HEADS)

    def test_heads_must_divide_the_width(self):
        with pytest.raises(ConfigurationError, match="n_heads is None, but must be given"):
            convert_published_weights(published("csm", **SMALL), "csm")
        with pytest.raises(ConfigurationError, match="n_heads is 5, but must be a divisor of the embedding's 12"):
            convert_published_weights(published("csm", **SMALL), "csm", n_heads=5)
        with pytest.raises(ConfigurationError, match="family is 'hmm'"):
            convert_published_weights({}, "hmm")

    def test_a_malicious_file_is_refused_and_nothing_executed(self, tmp_path):
        class Harm:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'harm'}",)

        path = tmp_path / "pytorch_model.bin"
        torch.save({"a": torch.ones(2), "b": Harm()}, path)
        with pytest.raises(CheckpointError, match="damaged or holds more than tensors"):
            read_published_weights(path)
        assert not (tmp_path / "harm").exists()

    def test_other_files_are_refused(self, tmp_path):
        path = tmp_path / "pytorch_model.bin"
        with pytest.raises(CheckpointError, match="could not be read"):
            read_published_weights(path)
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(CheckpointError, match="pointer of Git LFS"):
            read_published_weights(path)
        for content, words in (
            ([torch.ones(2)], "no tensors by name, but list"),
            ({"a": 1}, "'a' is of int"),
            ({"a": torch.tensor([np.nan])}, "a holds values that are NaN"),
        ):
            torch.save(content, path)
            with pytest.raises(CheckpointError, match=words):
                read_published_weights(path)

    def test_a_flipped_bit_is_found(self, tmp_path):
        path = tmp_path / "pytorch_model.bin"
        torch.save(published("csm", **SMALL), path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="the checksum of its member .* differs"):
            read_published_weights(path)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            (lambda tensor: tensor.to(torch.complex64), "holds complex numbers"),
            (lambda tensor: tensor.double() * 1e300, "too large for float32"),
            (lambda tensor: (100 * tensor).to(torch.int8), "must be of float"),
        ],
    )
    def test_numbers_of_other_kinds_are_refused(self, tmp_path, changed, words):
        path, weights = tmp_path / "pytorch_model.bin", published("csm", **SMALL)
        name = "decoder.transformer.wpe.weight"
        torch.save(weights | {name: changed(weights[name])}, path)
        with pytest.raises(CheckpointError, match=words):
            convert_published_weights(read_published_weights(path), "csm", n_heads=HEADS)

    def test_nothing_is_written_when_something_is_wrong(self, tmp_path):
        weights = published("csm", **SMALL)
        del weights["embedder.cls_embed"]
        with pytest.raises(CheckpointError, match="lacks embedder.cls_embed"):
            experiment_of(weights, "csm", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["pytorch_model.bin"]
        experiment_of(published("csm", **SMALL), "csm", tmp_path)
        with pytest.raises(CheckpointError, match="exists already"):
            experiment_of(published("csm", **SMALL), "csm", tmp_path)

    def test_names_must_be_as_many_as_networks(self, tmp_path):
        with pytest.raises(ConfigurationError, match="'2 names', but must be 7 names"):
            experiment_of(published("csm", **SMALL), "csm", tmp_path, channel_names=["a", "b"])
        with pytest.raises(ConfigurationError, match="some of them twice"):
            experiment_of(published("csm", **SMALL), "csm", tmp_path, channel_names=list("abcdefa"))
