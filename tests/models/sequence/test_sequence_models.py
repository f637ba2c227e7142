"""The four models as wholes: padding, look-ahead, alignment, order of the batch, and where learning begins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sequence_making import KINDS, N_CHANNELS, model_of, task_of
from sequence_windows import DATASETS, SMALL, SUBJECTS, windows
from torch import Tensor

from dynml.errors import ConfigurationError
from dynml.models.sequence.config import CsmConfig, NetworkBertConfig, SequenceBertConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.forecasting import forecast
from dynml.models.sequence.objectives.network_bert import NetworkBert
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.objectives.tasks import Task, next_sample_task, single_position_task
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.models.sequence.windows import Windows


def padded(given: Windows, n_more: int) -> Windows:
    """The same windows with more padding, which holds rubbish in time."""
    pad = torch.nn.functional.pad
    seconds = torch.cat([given.seconds_BT, torch.full((given.shape[0], n_more), 11.0, dtype=torch.float64)], dim=1)
    return Windows(pad(given.signals_BTC, (0, 0, 0, n_more)), pad(given.mask_BT, (0, n_more)), seconds, given.keys_B)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    model, given = model_of(kind), windows(N_CHANNELS)
    longer = padded(given, 5)
    outputs, with_padding = (model(task_of(model, one)) for one in (given, longer))
    where = given.mask_BT if outputs.task.follows_B is None else outputs.task.windows.mask_BT
    n_times = given.shape[1]
    assert torch.allclose(outputs.predicted_BTC[where], with_padding.predicted_BTC[:, :n_times][where], atol=2e-5)
    (loss, n), (loss_padded, n_padded) = model.compute_loss(outputs), model.compute_loss(with_padding)
    assert loss.item() == pytest.approx(loss_padded.item(), abs=2e-6)
    assert float(n) == float(n_padded) > 0
    assert torch.allclose(model.pooled(given), model.pooled(longer), atol=2e-5)
    assert torch.allclose(model.pooled(given, "mean"), model.pooled(longer, "mean"), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_batch_changes_nothing(kind):
    model, given = model_of(kind), windows(N_CHANNELS)
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    shuffled = Windows(*(getattr(given, field.name)[order] for field in dataclasses.fields(Windows)[:4]))
    if kind.endswith("pairs"):
        pytest.skip("partners come from the batch")
    outputs = model(task_of(model, given))
    others = model(model.task_of(shuffled, SUBJECTS[order], DATASETS[order]))
    assert torch.allclose(
        outputs.predicted_BTC[order][shuffled.mask_BT], others.predicted_BTC[shuffled.mask_BT], atol=2e-5
    )


@pytest.mark.parametrize("kind", ["csm", "csm_single"])
@pytest.mark.parametrize("linear_path", [False, True])
def test_causal_models_do_not_look_ahead(kind, linear_path):
    model, given = model_of(kind, linear_path=linear_path), windows(N_CHANNELS, (20, 20, 20))
    task = single_position_task(given)
    position_B = task.scored[:, :, 0].int().argmax(dim=1)
    future = torch.arange(20) >= position_B[:, None]
    other = dataclasses.replace(given, signals_BTC=torch.where(future[:, :, None], 9.0, given.signals_BTC))

    def predicted(shown: Windows) -> Tensor:
        return model(dataclasses.replace(task, windows=shown)).predicted_BTC[torch.arange(3), position_B]

    assert torch.equal(predicted(given), predicted(other))
    past = dataclasses.replace(given, signals_BTC=torch.where(future[:, :, None], given.signals_BTC, 9.0))
    assert not torch.allclose(predicted(given), predicted(past))


def test_all_positions_and_a_single_one_agree_for_the_model_that_predicts_all():
    model, given = model_of("csm"), windows(N_CHANNELS)
    single = single_position_task(given)
    where = single.scored.expand(given.signals_BTC.shape)
    all_positions = model(next_sample_task(given)).predicted_BTC
    assert torch.equal(model(single).predicted_BTC[where], all_positions[where])


@pytest.mark.parametrize("kind", ["sequence_bert", "network_bert", "sequence_bert_pairs", "network_bert_pairs"])
@pytest.mark.parametrize("linear_path", [False, True])
def test_what_is_hidden_is_not_seen(kind, linear_path):
    model, given = model_of(kind, linear_path=linear_path), windows(N_CHANNELS)
    task = task_of(model, given)
    changed = torch.where(task.scored, 9.0, task.windows.signals_BTC)
    other = dataclasses.replace(task, windows=dataclasses.replace(task.windows, signals_BTC=changed))
    mask = task.windows.mask_BT
    assert torch.equal(model(task).predicted_BTC[mask], model(other).predicted_BTC[mask])


class Says(torch.nn.Module):
    """In the place of a layer: what a function makes of its first argument."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, inputs: Tensor, *_: object, **__: object) -> Tensor:
        return self._function(inputs)


class Echo(Says):
    """In the place of embedder, transformer and un-embedder: gives each sample's input back where it stands."""

    def __init__(self) -> None:
        super().__init__(lambda inputs: inputs)


@pytest.mark.parametrize("kind", ["sequence_bert", "network_bert", "sequence_bert_pairs", "network_bert_pairs"])
def test_mask_target_and_prediction_lie_on_one_another(kind):
    # With layers that only copy, the prediction is the input: the signal where it is shown, the mask token elsewhere.
    model, given = model_of(kind), windows(N_CHANNELS)
    model.embedder = model.transformer = model.unembedder = Echo()
    model.time_embedding = Says(lambda seconds: torch.zeros(1))
    if hasattr(model, "pooler"):
        model.pooler, model.next_sequence_head = Echo(), Says(lambda pooled: pooled[:, :1])
    task = task_of(model, given)
    outputs = model(task)
    shape = task.windows.signals_BTC.shape
    shown, hidden = task.visible.expand(shape), task.scored.expand(shape)
    assert torch.equal(outputs.predicted_BTC[shown], task.windows.signals_BTC[shown])
    token = (
        model.mask_token_C.expand(shape)
        if kind.startswith("seq")
        else model.mask_token_T[: shape[1], None].expand(shape)
    )
    assert torch.equal(outputs.predicted_BTC[hidden], token[hidden])
    if outputs.follows_logit_B is not None:
        assert torch.allclose(outputs.follows_logit_B, model.class_token_C[0].expand(shape[0])), "read where it was put"


def test_the_causal_prediction_lies_one_sample_after_its_input():
    model, given = model_of("csm"), windows(N_CHANNELS)
    model.embedder = model.transformer = model.unembedder = Echo()
    model.time_embedding = Says(lambda seconds: torch.zeros(1))
    predicted = model(next_sample_task(given)).predicted_BTC
    assert torch.equal(predicted[:, 1:], given.signals_BTC[:, :-1]), "a copying model is persistence"


def test_the_label_of_pairs_is_that_they_follow():
    model, given = model_of("sequence_bert_pairs"), windows(N_CHANNELS, (12,) * 40)
    task = model.task_of(given, torch.zeros(40, dtype=torch.int64), torch.zeros(40, dtype=torch.int64))
    assert 5 < int(task.follows_B.sum()) < 35
    outputs = model(task)
    sure = dataclasses.replace(outputs, follows_logit_B=torch.where(task.follows_B, 20.0, -20.0))
    wrong = dataclasses.replace(outputs, follows_logit_B=torch.where(task.follows_B, -20.0, 20.0))
    assert model.next_sequence_loss(sure).item() < 1e-6
    assert model.next_sequence_loss(wrong).item() == pytest.approx(20.0, rel=1e-6)
    unsure = dataclasses.replace(outputs, follows_logit_B=torch.zeros(40))
    reconstruction = SequenceModel.compute_loss(model, unsure)[0].item()
    assert model.compute_loss(unsure)[0].item() == pytest.approx(reconstruction + math.log(2), rel=1e-5)


@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "network_bert"])
def test_learning_begins_at_the_linear_baseline(kind):
    torch.manual_seed(0)
    model_class, config_class, own = KINDS[kind]
    model = model_class(config_class(**SMALL, **own), N_CHANNELS).eval()
    with torch.no_grad():
        for buffer in model.linear.buffers():
            if buffer.is_floating_point():
                buffer.copy_(0.1 * torch.eye(N_CHANNELS) if buffer.shape[-2:] == (N_CHANNELS,) * 2 else buffer)
    task = task_of(model, windows(N_CHANNELS))
    assert torch.equal(model(task).predicted_BTC, model.linear.predict(task))


def test_without_a_linear_path_the_first_loss_follows_from_the_data():
    # Predictions near zero cost the mean absolute value of the data: sqrt(2 / pi) for a standard normal.
    torch.manual_seed(0)
    given = windows(N_CHANNELS, (30,) * 200)
    model = Csm(CsmConfig(**{**SMALL, "linear_path": False}), N_CHANNELS).eval()
    loss, n = model.compute_loss(model(next_sample_task(given)))
    assert loss.item() == pytest.approx(math.sqrt(2 / math.pi), rel=0.03)
    assert int(n) == 200 * 29 * N_CHANNELS


def test_parameters_at_the_published_sizes():
    sizes = {"embedding_dim": 768, "n_layers": 4, "time_precision": 0.2, "max_seconds": 300.0, "linear_path": False}
    with torch.device("meta"):
        csm = Csm(CsmConfig(objective="single_mask", **sizes), 1024)
        bert = SequenceBert(SequenceBertConfig(norm="post", next_sequence=True, **sizes), 1024)
        networks = NetworkBert(NetworkBertConfig(norm="post", next_sequence=True, **sizes), 1024)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (csm, bert, networks)]
    # The published files hold 768 more: a word embedding that nothing reads.
    assert counts == [31_478_016 - 768, 32_071_937 - 768, 32_071_425 - 768]


def test_the_autoencoder_sees_windows_through_their_code_alone():
    model, given = model_of("autoencoder"), windows(N_CHANNELS)
    code = model.code(given)
    assert code.shape == (6, SMALL["embedding_dim"])
    model.encoder = Says(lambda _: code.roll(1, dims=0))
    swapped = model(task_of(model, given)).predicted_BTC
    model.encoder = Says(lambda _: code)
    assert torch.allclose(swapped, model(task_of(model, given)).predicted_BTC.roll(1, dims=0), atol=1e-6)


def test_teacher_forcing_does_not_leak_the_target():
    model = model_of("autoencoder", teacher_forcing_ratio=1.0, dropout=0.0).train()
    given = windows(N_CHANNELS, (10, 10))
    code = model.code(given).detach()
    model.encoder = Says(lambda _: code)
    changed = given.signals_BTC.clone()
    changed[:, 6:] = 9.0
    other = dataclasses.replace(given, signals_BTC=changed)
    before, after = (model(task_of(model, one)).predicted_BTC for one in (given, other))
    assert torch.equal(before[:, :7], after[:, :7]), "sample 6 is predicted from those before it"
    assert not torch.allclose(before[:, 7], after[:, 7]), "the sample after it is shown sample 6"


def test_forecasts_feed_predictions_back():
    # x_(t+1) = A x_t, as a predictor that knows A: forecasts are powers of A.
    generator = np.random.default_rng(0)
    A = torch.from_numpy(0.9 * np.linalg.qr(generator.normal(size=(3, 3)))[0]).float()
    given = dataclasses.replace(windows(3, (8, 8)), ragged=False)

    def predictor(task: Task) -> Tensor:
        signals = task.windows.signals_BTC * task.visible
        return torch.nn.functional.pad(signals[:, :-1] @ A.T, (0, 0, 1, 0))

    ahead = forecast(predictor, given, 4, torch.tensor([0.5, 0.5], dtype=torch.float64))
    state = given.signals_BTC[:, -1]
    for step in range(4):
        state = state @ A.T
        assert torch.allclose(ahead[:, step], state, atol=1e-6)


def test_an_open_embedding_of_time_is_refused():
    with pytest.raises(ConfigurationError, match="time_precision"):
        Csm(CsmConfig(embedding_dim=32), 4)
