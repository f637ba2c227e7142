"""Several networks, each of which leaves out a fold of the training trials, and the mean of their logits."""

import numpy as np
import pytest
import torch
from decoding_data import configs_of, dataset_of, small, trainer_of

from dynml.errors import ConfigurationError
from dynml.models.experiment import load_experiment
from dynml.models.sequence.decoding.evaluation import predictions_of, windows_of_trials
from dynml.models.sequence.decoding.inference import decode
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.windows import windows_of

pytestmark = pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
SETTINGS = {"linear_answer": "best", "n_networks": 6, "head_dropout": 0.0, **small("csm", dropout=0.0, n_layers=1)}
TRAINER = {"max_epochs": 2, "inner_folds": 0, "learning_rate_schedule": "constant", "warmup_steps": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dataset = dataset_of(4, 1, 1, effect=0.7)
    trainer = trainer_of(dataset, tmp_path_factory.mktemp("networks"), trainer=TRAINER, **SETTINGS)
    return dataset, trainer, trainer.train_and_validate()


def test_a_network_learns_nothing_of_the_participants_that_it_leaves_out(trained):
    _, trainer, _ = trained
    trainer.batch_sampler.set_context("training")
    trainer.batch_loader.set_context("training")
    batch = next(trainer.batch_loader.iterate(trainer.batch_sampler, 0))
    answered, model = trainer._answered["training"], trainer.model.train()
    windows = list(windows_of_trials(trainer.trials("training"), torch.device("cpu")))
    assert len(windows) == 1
    model.zero_grad()
    trainer.result_of(model, batch, None).loss.backward()
    fold_of_subject = {int(s): int(f) for s, f in zip(answered.subject, answered.fold_N)}
    assert sorted(fold_of_subject.values()) == [0, 1, 2, 3]
    fold_B = torch.tensor([fold_of_subject[subject] for subject in batch.subject.tolist()])
    own = [fold_B != number % 4 for number in range(6)]
    n_all = sum(int(one.sum()) for one in own)
    for network, is_own_B in zip(model.networks, own, strict=True):
        states = network.hidden(network.pooled(windows_of(batch)))[is_own_B].detach()
        weight = network.head.weight.detach().clone().requires_grad_()
        logits = answered.logits_of(batch)[is_own_B] + states @ weight.T + network.head.bias.detach()
        torch.nn.functional.cross_entropy(logits, batch.classes[is_own_B], reduction="sum").div(n_all).backward()
        torch.testing.assert_close(network.head.weight.grad, weight.grad, atol=1e-6, rtol=1e-4)


def test_logits_are_averaged_and_so_they_are_from_the_disk(trained):
    dataset, trainer, _ = trained
    model, trials = trainer.model.eval(), trainer.trials("testing")
    (windows,) = windows_of_trials(trials, torch.device("cpu"))
    with torch.no_grad():
        own = torch.stack([network.added(windows) for network in model.networks])
        expected = (model.answer(windows) + own.mean(dim=0)).double().softmax(dim=1).numpy()
    assert own.std(dim=0).max() > 1e-4
    np.testing.assert_allclose(predictions_of(model, trials).probabilities, expected, atol=1e-6)
    experiment = load_experiment(trainer.folder.path)
    found = decode(experiment, dataset, ["testing"]).predictions["testing"]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    assert experiment.model.features(windows).shape == (len(trials), 6 * 16)


def test_the_held_out_score_is_of_networks_that_have_not_seen_a_trial(trained):
    _, trainer, summary = trained
    model, trials, answered = trainer.model.eval(), trainer.trials("training"), trainer._answered["training"]
    right, loss = [], []
    with torch.no_grad():
        (windows,) = windows_of_trials(trials, torch.device("cpu"))
        own = torch.stack([network.added(windows) for network in model.networks])
    for trial, fold in enumerate(answered.fold_N.tolist()):
        unseen = [number for number in range(6) if number % 4 == fold]
        logits = answered.logits_NK[trial] + own[unseen, trial].mean(dim=0)
        right.append(int(logits.argmax()) == trials.truth[trial])
        loss.append(-float(logits.double().log_softmax(dim=0)[trials.truth[trial]]))
    found = summary["networks"]
    assert (found["n_networks"], found["n_folds"], found["n_trials"]) == (6, 4, len(trials))
    assert found["held_out"]["accuracy"] == pytest.approx(np.mean(right))
    assert found["held_out"]["cross_entropy"] == pytest.approx(np.mean(loss), abs=1e-5)


def test_a_run_of_several_networks_goes_on_to_the_same_numbers(trained, tmp_path):
    dataset, _, whole = trained
    trainer_of(dataset, tmp_path, trainer=TRAINER | {"max_epochs": 1}, **SETTINGS).train_and_validate()
    rest = trainer_of(dataset, tmp_path, trainer=TRAINER, resume="auto", **SETTINGS).train_and_validate()
    assert rest["best_value"] == whole["best_value"]
    assert rest["networks"] == whole["networks"]


def test_the_first_of_several_networks_begins_as_one_alone_does():
    dataset = dataset_of(2, 1, 0)
    torch.manual_seed(3)
    alone = Decoding(configs_of(dataset, **SETTINGS | {"n_networks": 1})["model"], 4)
    torch.manual_seed(3)
    several = Decoding(configs_of(dataset, **SETTINGS)["model"], 4)
    own = several.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in alone.state_dict().items())
    assert len(own) > 5 * len(alone.backbone.state_dict())
    with pytest.raises(ConfigurationError, match="1 without a linear answer"):
        configs_of(dataset, **SETTINGS | {"linear_answer": "none"})
