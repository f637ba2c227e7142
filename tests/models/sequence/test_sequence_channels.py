"""Sequence models that know channels by name or position, on recordings with other channels than those of training."""

from __future__ import annotations

import dataclasses
import json

import h5py
import numpy as np
import pytest
import torch
from sequence_runs import FAMILIES, TINY, rotations
from store_making import Study

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, load_experiment
from dynml.cli.commands.results.infer import parse_inference, run_inference
from dynml.cli.commands.train import build_trainer, parse_training
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.models.sequence import channels as channels_of_models
from dynml.models.sequence.backbones.channel_vectors import PositionedChannels
from dynml.models.sequence.channels import dataset_of_run
from dynml.models.sequence.settling import settle_with_data, settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import windows_of

pytestmark = pytest.mark.filterwarnings("ignore:.*not standardized", "ignore:.*in no list", "ignore:.*gain")
NAMES = ["Fz", "Cz", "Pz", "Oz", "T7", "T8"]
PLACES = {name: place for name, place in zip(NAMES, np.random.default_rng(7).normal(0, 60, (6, 3)).tolist())}
ARRAYS = rotations(4, 120, 6)
OTHER = ["T8", "Pz", "X1", "Fz", "Cz"]
"""Some of the channels in another order, and one that no model knows."""


def dataset_with(names, known=NAMES, arrays=ARRAYS):
    """The same signals under other channels; those that are not known are noise."""
    noise = np.random.default_rng(5).normal(size=arrays[0].shape).astype(np.float32)
    rows = [np.stack([one[:, known.index(n)] if n in known else noise[:, 0] for n in names], axis=1) for one in arrays]
    return MultiSubjectDataset.from_arrays(rows[:-1], rows[-1:], channel_names=names, standardization="none")


def model_of(family, dataset, kind="name", **settings):
    torch.manual_seed(2)
    model_class, config_class = FAMILIES[family]
    config = settled_model(config_class(**{**TINY, "channel_embedding": kind, **settings}), dataset)
    return model_class(config, dataset.n_channels).eval()


def shaken(model):
    """Weights that say something, the linear path's included."""
    torch.manual_seed(4)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "channels." not in name and "precision" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model


def predicted(model, dataset):
    loader = BatchLoader(dataset, model)
    loader.set_context("validation")
    sampler = BatchSampler(dataset, window_length=20, batch_size_training=4)
    sampler.set_context("validation")
    batch = loader.on_device(loader.load_batch(next(iter(sampler.batches(0))), 0))
    with torch.no_grad():
        return model(model.task_of(windows_of(batch), batch.subject, batch.subject)).predicted_BTC


@pytest.fixture
def places(monkeypatch):
    """Arrays have no places: give those that a store would keep."""
    known = dict(PLACES)

    def positions_of(dataset):
        return np.array([known.get(name, [np.nan] * 3) for name in dataset.channel_names]), "head"

    monkeypatch.setattr(channels_of_models, "positions_of", positions_of)
    return known


KINDS = [(family, {}) for family in FAMILIES] + [
    ("csm", {"patch_length": 4, "n_embedder_layers": 2, "n_unembedder_layers": 2}),
    ("csm", {"objective": "single_mask"}),
    ("sequence_bert", {"next_sequence": True}),
    ("sequence_bert", {"patch_length": 4}),
]


@pytest.mark.parametrize(("family", "settings"), KINDS)
def test_with_all_channels_names_change_no_number(family, settings):
    dataset = dataset_with(NAMES)
    named, plain = (model_of(family, dataset, kind, **settings) for kind in ("name", "none"))
    assert named.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(predicted(shaken(named), dataset), predicted(shaken(plain), dataset))


@pytest.mark.parametrize(("family", "settings"), KINDS)
def test_channels_in_another_order_give_the_same_numbers(family, settings):
    model = shaken(model_of(family, dataset_with(NAMES), **settings))
    before = predicted(model, dataset_with(NAMES))
    taken = model.taking_channels_of(dataset_with(NAMES[::-1]))
    assert list(taken.channel_names) == NAMES
    assert torch.equal(predicted(model, taken), before)


@pytest.mark.parametrize(("family", "settings"), KINDS)
def test_missing_unknown_and_permuted_channels_give_the_numbers_of_the_same_channels_in_the_old_order(family, settings):
    model = shaken(model_of(family, dataset_with(NAMES), **settings))
    left = ["Fz", "Cz", "Pz", "T8"]
    expected = predicted(model, model.taking_channels_of(dataset_with(left)))
    with pytest.warns(DataWarning, match=r"does not know 1 of 5 channels.*X1.*2 of the 6 .*Oz, T7"):
        taken = model.taking_channels_of(dataset_with(OTHER))
    assert list(taken.channel_names) == left
    assert torch.equal(predicted(model, taken), expected)


@pytest.mark.filterwarnings("ignore:.*that it knows")
@pytest.mark.parametrize("patch_length", [1, 4])
def test_tokens_are_sums_over_the_channels_that_are_there_and_predictions_those_of_matching_vectors(patch_length):
    settings = {"patch_length": patch_length, "linear_path": False}
    model = shaken(model_of("csm", dataset_with(NAMES), **settings))
    index = [NAMES.index(name) for name in ("Fz", "Cz", "Pz", "T8")]
    columns = [sample * 6 + channel for sample in range(patch_length) for channel in index]
    fewer = dataset_with([NAMES[number] for number in index])
    by_hand = model_of("csm", fewer, "none", **settings)
    weights = model.state_dict()
    first, last = "embedder.layers.0.weight", "unembedder.layers.0."
    cut = {first: weights[first][:, columns] * 6 / 4, "class_token_C": weights["class_token_C"][columns]}
    cut |= {f"{last}{part}": weights[f"{last}{part}"][columns] for part in ("weight", "bias")}
    by_hand.load_state_dict(weights | cut)
    found = predicted(model, model.taking_channels_of(fewer))
    torch.testing.assert_close(found, predicted(by_hand, fewer), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*that it knows")
@pytest.mark.parametrize("family", ["csm", "sequence_bert"])
def test_in_the_linear_path_missing_channels_stand_at_their_mean(family):
    whole, fewer = dataset_with(NAMES), dataset_with(["Fz", "Cz", "Pz", "T8"])
    model = shaken(model_of(family, whole))
    with torch.no_grad():
        model.gate_C.zero_()
    at_mean = [one.copy() for one in ARRAYS]
    for one in at_mean:
        # Constant channels are refused.
        one[:, [3, 4]] = model.linear.mean_C[[3, 4]].numpy() + 1e-5 * one[:, [3, 4]]
    expected = predicted(model, dataset_with(NAMES, arrays=at_mean))[..., [0, 1, 2, 5]]
    found = predicted(model, model.taking_channels_of(fewer))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_by_position_order_makes_no_difference_and_new_places_are_predicted(family, places):
    model = shaken(model_of(family, dataset_with(NAMES), "position"))
    before = predicted(model, dataset_with(NAMES))
    turned = model.taking_channels_of(dataset_with(NAMES[::-1]))
    assert list(turned.channel_names) == NAMES[::-1]
    found = predicted(model, turned)
    if family != "network_bert":  # which networks are hidden is drawn by their order
        torch.testing.assert_close(found, before.flip(2), rtol=1e-4, atol=1e-5)
    places["X1"] = [20.0, -30.0, 40.0]
    new = model.taking_channels_of(dataset_with(["X1", "Fz"]))
    assert predicted(model, new).isfinite().all()
    places["X1"] = PLACES["Cz"]
    renamed = model.taking_channels_of(dataset_with(["Fz", "X1", *NAMES[2:]], ["Fz", "X1", *NAMES[2:]]))
    without_linear = model.own_channels is None or not bool(model.own_channels.is_there_C[1])
    if model.linear is None:
        torch.testing.assert_close(predicted(model, renamed), before, rtol=1e-5, atol=1e-6)
    assert without_linear


def test_a_montage_that_was_never_seen_is_predicted_by_where_its_sensors_lie(tmp_path, places):
    generator = np.random.default_rng(0)
    names = [f"{montage}{number}" for montage in "AB" for number in range(32)]
    directions = generator.normal(size=(67, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places |= dict(zip(names, (90 * directions[3:]).tolist()))
    sources_K3 = 60 * directions[:3]

    def montage(letter):
        own = [name for name in names if name[0] == letter]
        distances = np.linalg.norm(np.array([places[name] for name in own])[:, None] - sources_K3, axis=2)
        arrays = []
        for _ in range(7):
            phases = np.arange(300)[:, None] * [0.3, 0.5, 0.8] + generator.uniform(0, 6, 3)
            signals = np.cos(phases) @ np.exp(-((distances / 60) ** 2)).T
            arrays.append((signals + 0.1 * generator.normal(size=signals.shape)).astype(np.float32))
        return MultiSubjectDataset.from_arrays(arrays[:-1], arrays[-1:], channel_names=own, standardization="per_run")

    settings = {"channel_embedding": "position", "linear_path": False, "dropout": 0.0, "embedding_dim": 32}
    trained(tmp_path, montage("A"), "placed", max_epochs=15, learning_rate=3e-3, **settings)
    experiment, other = load_experiment(tmp_path / "placed"), montage("B")
    opened = experiment.open(other)
    targets = opened.validation_set.rows(0, 0, 80).reshape(4, 20, 32)[:, 1:]
    error = (predicted(experiment.model, opened)[:, 1:] - targets).abs().mean()
    own = [places[name] for name in opened.channel_names]
    places |= dict(zip(opened.channel_names, own[::-1]))
    moved = (predicted(experiment.model, experiment.open(other))[:, 1:] - targets).abs().mean()
    # At places that are not theirs the same signals are predicted hardly better than by 0.
    assert error < 0.85 * targets.abs().mean()
    assert error < 0.88 * moved


def test_near_places_have_similar_vectors():
    channels = PositionedChannels(4, [[0, 0, 0], [3, 0, 0], [40, 0, 0], [0, 90, 0]])
    vectors_Cd = channels.of(torch.randn(200, channels.n_columns, generator=torch.Generator().manual_seed(1))).T
    near, middle, far = (torch.corrcoef(vectors_Cd[[0, other]])[0, 1] for other in (1, 2, 3))
    assert near > 0.95
    assert 0.1 < middle < 0.8
    assert abs(far) < 0.35


def test_what_lacks_a_place_is_named_and_what_cannot_be_told_apart_is_refused(places):
    model = model_of("csm", dataset_with(NAMES), "position")
    del places["Pz"]
    with pytest.warns(DataWarning, match=r"place of 1 of 6 channels is unknown.*Pz"):
        assert "Pz" not in model.taking_channels_of(dataset_with(NAMES)).channel_names
    places["Cz"] = places["Fz"]
    with pytest.raises(DataError, match="Fz and Cz lie at the same place"):
        model.taking_channels_of(dataset_with(NAMES))
    places.clear()
    with pytest.raises(DataError, match="nothing is known of where its channels lie"):
        model.taking_channels_of(dataset_with(OTHER))


def test_places_of_another_space_are_refused(places, monkeypatch):
    model = model_of("csm", dataset_with(NAMES), "position")
    monkeypatch.setattr(channels_of_models, "positions_of", lambda dataset: (np.eye(6, 3) * 50 + 1, "standard"))
    with pytest.raises(DataError, match="in the space 'standard', .* in 'head'"):
        model.taking_channels_of(dataset_with(NAMES))


def test_channels_without_names_of_their_own_are_refused():
    model = model_of("csm", dataset_with(NAMES))
    with pytest.raises(DataError, match=r"none of its channels \(A, B, C, ..\) has the name .*\(Fz, Cz, Pz, ..\)"):
        model.taking_channels_of(dataset_with(list("ABCDE")))
    twice = dataset_with(OTHER)
    twice.channel_names = ("Fz", "Cz", "Fz", "A", "B")  # stores and arrays refuse it before
    with pytest.raises(DataError, match="Fz is the name of several channels"):
        model.taking_channels_of(twice)
    components = dataset_with([f"component_{number}" for number in range(6)])
    with pytest.raises(ConfigurationError, match="none for components"):
        model_of("csm", components)
    with pytest.raises(ConfigurationError, match="channel_embedding"):
        model_of("csm", components, "names")


def trained(folder, dataset, name, pretrained=None, max_epochs=1, learning_rate=1e-30, **model):
    model_class, config_class = FAMILIES["csm"]
    configs = {"model": config_class(**TINY | model)}
    dataset = dataset_of_run(configs, dataset, pretrained)
    config = settle_with_data(configs, dataset, pretrained)["model"]
    torch.manual_seed(1)
    network = model_class(config, dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=20, batch_size_training=8)
    settings = {"max_epochs": max_epochs, "learning_rate": learning_rate, "weight_decay": 0.0, "warmup_steps": 2}
    settings |= {"progress": False, "device": "cpu"}
    parameters = {"family": "csm", "model": dataclasses.asdict(config), "pretrained": pretrained}
    trainer = SequenceTrainer(
        *(network, folder, name, sampler, BatchLoader(dataset, network)),
        parameters=parameters,
        pretrained=pretrained,
        **settings,
    )
    trainer.train_and_validate()
    return trainer


@pytest.mark.filterwarnings("ignore:.*does not know")
@pytest.mark.parametrize("kind", ["name", "none"])
def test_a_run_starts_from_a_model_of_other_channels(tmp_path, kind):
    first = trained(tmp_path, dataset_with(NAMES), "first", channel_embedding=kind)
    second = trained(tmp_path, dataset_with(OTHER), "second", str(first.folder.path), channel_embedding="name")
    assert second.model.config.known_channels == NAMES
    assert second.model.config.channel_names == ["Fz", "Cz", "Pz", "T8"]
    before, after = first.model.state_dict(), second.model.state_dict()
    for name in before:
        if not name.startswith("linear."):
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-20)
    # The linear path is the baseline of the new data.
    assert after["linear.mean_C"].shape == (4,)
    torch.testing.assert_close(after["linear.mean_C"], second.baselines["ridge_var"].mean_C)
    # What was adapted knows the channels of both, and comes back from its folder.
    experiment = load_experiment(second.folder.path)
    assert list(experiment.open(dataset_with(NAMES)).channel_names) == NAMES
    assert predicted(experiment.model, dataset_with(NAMES)).isfinite().all()


def test_ways_of_knowing_channels_that_do_not_go_together_are_refused(tmp_path):
    plain = trained(tmp_path, dataset_with(NAMES), "plain")
    with pytest.raises(ConfigurationError, match="not trained to know channels by their positions"):
        trained(tmp_path, dataset_with(NAMES), "other", str(plain.folder.path), channel_embedding="position")
    named = trained(tmp_path, dataset_with(NAMES), "named", channel_embedding="name")
    with pytest.raises(ConfigurationError, match="absent, or name"):
        trained(tmp_path, dataset_with(NAMES), "other", str(named.folder.path), channel_embedding="position")


def store_of(folder, names, places=None):
    study = Study(folder, {}, channel_names=names)
    for number, one in enumerate(ARRAYS):
        (study.ready / f"sub-{number}").mkdir(parents=True)
        study.save(f"sub-{number}", 0, one[:, [NAMES.index(name) if name in NAMES else 0 for name in names]])
    study.lists = {"training": ["sub-0", "sub-1", "sub-2"], "validation": ["sub-3"], "testing": []}
    study.create().close()
    if places is not None:
        with h5py.File(study.target, "r+") as file:
            node = file.create_group("geometry/signals")
            node["channel_names"] = names
            node["positions"] = np.array([places[name] for name in names], dtype=np.float64)
            node["loc"], node["codes"] = np.zeros((len(names), 12)), np.zeros((len(names), 4), dtype=np.int64)
            node.attrs["kind"], node.attrs["values"] = "sensors", json.dumps({"space": "head", "standard": False})
    return str(study.target)


SMALL = ["--model.embedding_dim", "16", "--model.n_layers", "1", "--trainer.max_epochs", "1", "--trainer.device", "cpu"]


@pytest.mark.filterwarnings("ignore:.*that it knows", "ignore:.*was made", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["name", "position"])
def test_scripts_train_adapt_resume_and_infer_on_other_channels(tmp_path, kind, capsys):
    whole = store_of(tmp_path / "whole", NAMES, PLACES)
    other = store_of(tmp_path / "other", ["T8", "Pz", "Fz"], PLACES)
    experiments = str(tmp_path / "experiments")
    settings = ["--model.channel_embedding", kind, *SMALL]
    build_trainer(parse_training(None, ["csm", experiments, "first", whole, "signals", *settings])).train_and_validate()
    adapting = ["csm", experiments, "second", other, "signals", "--pretrained", f"{experiments}/first", *SMALL]
    summary = build_trainer(parse_training(None, adapting)).train_and_validate()
    assert set(summary["score_by_network"]) == {"T8", "Pz", "Fz"}
    again = build_trainer(parse_training(None, [*adapting, "--resume", "auto", "--trainer.max_epochs", "2"]))
    assert again.train_and_validate()["epochs"] == 2
    for experiment, store in (("first", other), ("second", whole)):
        out = tmp_path / f"of_{experiment}"
        run_inference(parse_inference(None, [f"{experiments}/{experiment}", store, str(out), "--device", "cpu"]))
        assert np.isfinite(np.load(out / "sub-0_embeddings.npy")).all()
        assert json.loads((out / "summary.json").read_text())["score"]["validation"] > 0
