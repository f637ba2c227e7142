"""One training on several groups with channels of their own: what is learnt, scored, refused and said."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from montages_making import ALL, NAMES, store_of_groups

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, load_experiment
from dynml.cli.commands.results.infer import parse_inference, run_inference
from dynml.cli.commands.train import build_trainer, parse_training
from dynml.dataset.config import DatasetConfig
from dynml.errors import ConfigurationError, DataError
from dynml.exchange.exported.privacy import parameters_without_people, people_of
from dynml.models.sequence.config import AutoencoderConfig, CsmConfig, NetworkBertConfig, SequenceBertConfig
from dynml.models.sequence.decoding.pretraining import load_pretrained
from dynml.models.sequence.montages.checks import channels_apart
from dynml.models.sequence.objectives.autoencoder import Autoencoder
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.network_bert import NetworkBert
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.windows import windows_of

pytestmark = pytest.mark.filterwarnings("ignore:.*left out", "ignore:.*did not exist", "ignore:.*that it knows")
SMALL = ("--model.embedding_dim", "16", "--model.n_layers", "1", "--sampler.window_length", "20")
BOTH = {"cap_a": [0, 1, 2], "cap_b": [2, 3, 4]}
FAMILIES = {
    "csm": (Csm, CsmConfig),
    "sequence_bert": (SequenceBert, SequenceBertConfig),
    "network_bert": (NetworkBert, NetworkBertConfig),
    "autoencoder": (Autoencoder, AutoencoderConfig),
}
BASELINES = {
    "sequence_bert": ("zero", "ar1", "ridge_var", "interpolation", "ridge_both_sides"),
    "network_bert": ("zero", "ridge_from_other_networks"),
    "autoencoder": ("zero", "pca"),
}
KINDS = [("csm", {}), ("csm", {"objective": "single_mask"}), ("csm", {"patch_length": 4}), ("sequence_bert", {})]
KINDS += [("sequence_bert", {"patch_length": 4}), ("network_bert", {"masking_rate": 0.4})]
KINDS += [("network_bert", {"masking_rate": 0.4, "patch_length": 4}), ("autoencoder", {})]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of_groups(tmp_path_factory.mktemp("groups"), BOTH, validation=[1, 4], n_samples=120)


def trainer_of(folder, store, *settings, family="csm", name="run", group="cap_a", further="cap_b", by="name"):
    several = [] if further is None else ["--dataset.further_groups", further]
    arguments = [family, str(folder), name, str(store), group, "--quiet", "--model.channel_embedding", by, *several]
    own = [one for one in (*SMALL, "--trainer.max_epochs", "1", "--trainer.device", "cpu")]
    return build_trainer(parse_training(None, [*arguments, *own, "--trainer.progress", "false", *settings]))


def dataset_of(store, further=("cap_b",)):
    dataset = MultiSubjectDataset(store, group="cap_a", config=DatasetConfig(further_groups=list(further)))
    dataset.load_data()
    return dataset


def batch_of(dataset, subset, subjects, **augmentation):
    loader = BatchLoader(dataset, **augmentation)
    loader.set_context(subset)
    sampler = BatchSampler(dataset, window_length=20, batch_size_training=100, batch_size_validation=100)
    sampler.set_context(subset)
    numbers = [dataset.subset(subset).subjects.index(subject) for subject in subjects]
    spans = [span for span in next(iter(sampler.batches(0))) if span.subject in numbers]
    return loader.on_device(loader.load_batch(spans, 0))


def model_of(family, dataset, **settings):
    torch.manual_seed(2)
    model_class, config_class = FAMILIES[family]
    config = config_class(embedding_dim=16, n_layers=1, n_heads=2, n_positions=64, channel_embedding="name", **settings)
    model = model_class(settled_model(config, dataset), dataset.n_channels)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "precision" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model


def task_of(model, batch):
    return model.task_of(windows_of(batch), batch.subject, batch.subject)


@pytest.mark.parametrize(("family", "settings"), KINDS)
def test_channels_that_are_nowhere_have_no_part_in_the_loss(store, family, settings):
    dataset = dataset_of(store)
    model = model_of(family, dataset, dropout=0.0, **settings).train()
    batch = batch_of(dataset, "training", ["sub-2@cap_b", "sub-3"], noise=0.3)
    task = task_of(model, batch)
    loss, n_scored = model.compute_loss(model(task), batch)
    loss.backward()
    absent = torch.tensor([name not in NAMES["cap_b"] for name in ALL])
    assert not task.windows.signals_BTC[..., absent].any()
    assert task.scored[..., ~absent].any()
    assert not task.scored[..., absent].any()
    assert n_scored == task.scored[..., ~absent].sum()
    length = settings.get("patch_length", 1)
    for name in ("embedder.layers.0.weight", "unembedder.layers.0.weight"):
        gradient = model.get_parameter(name).grad
        by_channel = (gradient if name.startswith("emb") else gradient.T).unflatten(-1, (length, -1))
        assert not by_channel[..., absent].any()
        assert by_channel[..., ~absent].any(dim=0).all()
    assert model.linear is None or not model.gate_C.grad[absent].any()


@pytest.mark.parametrize(("family", "settings"), KINDS)
def test_a_group_is_predicted_in_training_as_it_is_by_itself_later(store, family, settings):
    dataset = dataset_of(store)
    model = model_of(family, dataset, **settings).eval()
    columns = [list(dataset.channel_names).index(name) for name in NAMES["cap_b"]]
    with torch.no_grad():
        together = model(task_of(model, batch_of(dataset, "validation", ["sub-4"]))).predicted_BTC[..., columns]
        alone = MultiSubjectDataset(store, group="cap_b")
        alone.load_data()
        alone = model.taking_channels_of(alone)
        order = [list(alone.channel_names).index(name) for name in NAMES["cap_b"]]
        batch = batch_of(alone, "validation", ["sub-4"])
        # Draws of what is hidden are keyed by the number of the subject.
        batch.subject = torch.ones_like(batch.subject)
        task = model.task_of(windows_of(batch), batch.subject, batch.subject)
        found = model(task).predicted_BTC[..., order]
    torch.testing.assert_close(together, found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", BASELINES)
def test_baselines_of_a_group_are_those_of_the_group_alone(tmp_path, store, family):
    both = trainer_of(tmp_path, store, family=family, name="both").train_and_validate()
    alone = trainer_of(tmp_path, store, family=family, name="alone", group="cap_a", further=None)
    alone = alone.train_and_validate()
    for name in BASELINES[family]:
        assert both["score_by_group"]["cap_a"][name] == pytest.approx(alone["baselines"][name]["validation"], rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_of_the_same_channels_give_the_numbers_of_one_group(tmp_path, family):
    names = {"cap_a": NAMES["cap_a"], "cap_b": NAMES["cap_a"]}
    one = {"cap_a": range(5)}
    whole = store_of_groups(tmp_path / "one", one, names=names, validation=[2, 4], n_samples=100)
    two = {"cap_a": [0, 1, 2], "cap_b": [3, 4]}
    parts = store_of_groups(tmp_path / "two", two, names=names, validation=[2, 4], n_samples=100)
    settings = {"family": family, "by": "none"}
    together = trainer_of(tmp_path, whole, name="one", further=None, **settings)
    apart = trainer_of(tmp_path, parts, name="two", **settings)
    scores = together.train_and_validate(), apart.train_and_validate()
    assert scores[0]["score"] == scores[1]["score"]
    weights = together.model.state_dict(), apart.model.state_dict()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


@pytest.mark.parametrize("family", ["csm", "network_bert"])
def test_the_order_of_a_groups_channels_makes_no_difference(tmp_path, store, family):
    turned = {"cap_a": NAMES["cap_a"], "cap_b": [*NAMES["cap_b"][::-1]]}
    other = store_of_groups(tmp_path, BOTH, names=turned, validation=[1, 4], n_samples=120)
    first, second = (trainer_of(tmp_path, path, name=path.parent.name, family=family) for path in (store, other))
    assert first.train_and_validate()["score"] == second.train_and_validate()["score"]
    weights = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_group_of_one_recording_is_learnt_better_with_another_group(tmp_path):
    members = {"cap_a": range(12), "cap_b": [12, 13, 14]}
    path = store_of_groups(tmp_path, members, validation=[11, 13, 14], short=[12])
    settings = ("--model.linear_path", "false", "--model.dropout", "0", "--model.embedding_dim", "32")
    settings += ("--trainer.learning_rate", "0.01", "--sampler.batch_size_training", "16")
    # As many steps for both.
    settings += ("--trainer.max_epochs", "12", "--sampler.batches_per_epoch", "9", "--model.forecast_samples", "1")
    both = trainer_of(tmp_path, path, *settings, name="both")
    alone = trainer_of(tmp_path, path, *settings, name="alone", group="cap_b", further=None)
    with_others = both.train_and_validate()["score_by_group"]["cap_b"]["model"]
    assert with_others < 0.97 * alone.train_and_validate()["score"]["validation"]


def test_scripts_train_resume_infer_and_adapt(tmp_path, store):
    settings = {"name": "both"}
    trainer_of(tmp_path, store, **settings).train_and_validate()
    again = trainer_of(tmp_path, store, "--resume", "auto", "--trainer.max_epochs", "2", **settings)
    summary = again.train_and_validate()
    assert summary["epochs"] == 2
    for group, subject in (("cap_a", "sub-1"), ("cap_b", "sub-4")):
        out = tmp_path / f"of_{group}"
        run_inference(
            parse_inference(None, [str(tmp_path / "both"), str(store), str(out), "--group", group, "--device", "cpu"])
        )
        scores = json.loads((out / "summary.json").read_text())["score"]
        assert np.isfinite(np.load(out / f"{subject}_embeddings.npy")).all()
        assert scores["validation"] == pytest.approx(summary["score_by_group"][group]["model"], rel=1e-4)
    parameters = load_experiment(tmp_path / "both").parameters
    published = parameters_without_people(parameters, people_of(parameters))
    assert "sub-" not in json.dumps(published)
    assert published["dataset"]["groups"]["cap_b"]["preparation"]["standardization"] == "per_run"
    # A third montage, of known channels and one that nobody knows.
    third = {"cap_c": ["B3", "E1", "new", "A0", "E5"]}
    places = {"cap_c": [n if n in ALL else "E7" for n in third["cap_c"]]}
    other = store_of_groups(tmp_path / "other", {"cap_c": [0, 1]}, names=third, seen_as=places, validation=[1])
    with pytest.warns(UserWarning, match=r"does not know 1 of 5 channels.*\(new\)"):
        adapted = trainer_of(
            tmp_path,
            other,
            "--pretrained",
            str(tmp_path / "both"),
            name="adapted",
            group="cap_c",
            further=None,
        )
    assert set(adapted.train_and_validate()["score_by_network"]) == {"B3", "E1", "A0", "E5"}


@pytest.mark.parametrize("family", ["csm", "autoencoder"])
def test_a_decoder_of_a_new_montage_reads_its_channels_as_the_pretrained_model_does(tmp_path, store, family):
    pretrained = trainer_of(tmp_path, store, family=family)
    pretrained.train_and_validate()
    third = {"cap_c": [*NAMES["cap_b"][::-1], "new"]}
    rows = "".join(f"{0.2 * trial}\t0.2\t{'face' if trial % 2 else 'tool'}\n" for trial in range(6))
    other = store_of_groups(
        tmp_path / "other",
        {"cap_c": range(5)},
        names=third,
        seen_as={"cap_c": [*NAMES["cap_b"][::-1], "A0"]},
        validation=[4],
        n_samples=120,
        events={"cap_c": f"onset\tduration\tpicture\n{rows}"},
    )
    arguments = ["decoding", str(tmp_path), "decoder", str(other), "cap_c", "--quiet", "--model.target", "picture"]
    arguments += ["--pretrained", str(tmp_path / "run"), "--trainer.device", "cpu"]
    with pytest.warns(UserWarning, match=r"cap_c: the model does not know 1 of 13 channels, unused here \(new\)"):
        decoder = build_trainer(parse_training(None, arguments))
    load_pretrained(decoder.model, str(tmp_path / "run"))
    model, decoding = pretrained.model.eval(), decoder.model.eval()
    with torch.no_grad():
        expected = model.pooled(windows_of(batch_of(pretrained.dataset, "validation", ["sub-4"])), "mean")
        # A decoder's batches are trials, here windows of 20 samples.
        found = decoding.features(windows_of(batch_of(decoder.dataset, "validation", ["sub-4"])))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_subsets_that_the_training_drew_are_found_again_in_each_group(tmp_path, store):
    trainer = trainer_of(tmp_path, store, "--dataset.folds", "3", "--dataset.fold", "1")
    trainer.train_and_validate()
    validated = {trainer.dataset.origin(subject) for subject in trainer.dataset.validation_set.subjects}
    for group in ("cap_a", "cap_b"):
        experiment = load_experiment(tmp_path / "run")
        with pytest.warns(UserWarning, match="those that the training has drawn"):
            found = experiment.open(str(store), group=group)
        assert {(subject, group) for subject in found.validation_set.subjects} == {
            origin for origin in validated if origin[1] == group
        }


@pytest.mark.parametrize("family", ["sequence_bert", "network_bert", "autoencoder"])
def test_masked_samples_of_one_group_are_left_out_and_another_preparation_is_told(tmp_path, family):
    settings = {"missing": "mask", "standardization": "none"}
    members = {"cap_a": [0, 1], "cap_b": [2, 3]}
    path = store_of_groups(
        tmp_path, members, missing_of={"cap_b": 30}, n_samples=120, validation=[1, 3], cap_b=settings
    )
    with pytest.warns(
        UserWarning, match=r"cap_a and cap_b were prepared differently \(standardization per_run and none"
    ):
        trainer = trainer_of(tmp_path, path, family=family)
    assert trainer.dataset.n_masked == 2
    assert np.isfinite(trainer.train_and_validate()["score_by_group"]["cap_b"]["model"])


def test_groups_that_one_model_cannot_learn_from_are_refused(tmp_path, store):
    with pytest.raises(ConfigurationError, match=r"channel_embedding is 'none', but must be name or position where"):
        trainer_of(tmp_path, store, by="none")
    for family in ("hmm", "dynemo", "decoding"):
        arguments = [family, str(tmp_path), "no", str(store), "cap_a", "--quiet", "--dataset.further_groups", "cap_b"]
        arguments += {
            "hmm": ["--model.n_states", "2"],
            "dynemo": ["--model.n_modes", "2"],
            "decoding": ["--model.target", "age"],
        }[family]
        with pytest.raises(ConfigurationError, match="null for .*csm, sequence_bert, network_bert and autoencoder l"):
            build_trainer(parse_training(None, arguments))
    for family in ("sequence_bert", "network_bert"):
        with pytest.raises(ConfigurationError, match=r"model.next_sequence is True, but must be false where"):
            trainer_of(tmp_path, store, "--model.next_sequence", "true", family=family)
    strangers = {"cap_a": NAMES["cap_a"][8:], "cap_b": NAMES["cap_b"][8:]}
    apart = store_of_groups(tmp_path / "apart", {"cap_a": [0, 1], "cap_b": [2]}, names=strangers)
    with pytest.raises(
        DataError, match=r"group cap_b \(B0, B1, B2, ..\) has no channel of a name .* use model.channel_e"
    ):
        trainer_of(tmp_path, apart)
    untrained = store_of_groups(tmp_path / "untrained", {"cap_a": [0, 1], "cap_b": [2]}, validation=[2])
    with pytest.raises(DataError, match="no training subject has the group cap_b"):
        trainer_of(tmp_path, untrained)


def with_places(path, places, space="head"):
    with h5py.File(path, "r+") as file:
        for group, own in places.items():
            node, n = file.create_group(f"geometry/{group}"), len(own)
            node["channel_names"], node["positions"] = list(own), np.array(list(own.values()), dtype=np.float64)
            node["loc"], node["codes"] = np.zeros((n, 12)), np.zeros((n, 4), dtype=np.int64)
            node.attrs["kind"] = "sensors"
            values = {"space": space if isinstance(space, str) else space[group], "standard": False}
            node.attrs["values"] = json.dumps(values)
    return path


@pytest.fixture
def strangers(tmp_path):
    """Two atlases whose parcels have the same names and lie 20 mm apart."""
    names = {"cap_a": [f"E{number}" for number in range(5)], "cap_b": [f"E{number}" for number in range(5)]}
    path = store_of_groups(tmp_path / "atlases", {"cap_a": [0, 1], "cap_b": [2, 3]}, names=names, validation=[3])
    return path, {
        group: {n: [30 * i, 20 * (group == "cap_b"), 0] for i, n in enumerate(names[group])} for group in names
    }


def test_by_position_parcels_of_one_name_are_told_apart_and_strangers_are_said(tmp_path, strangers):
    path, places = strangers
    trainer = trainer_of(tmp_path, with_places(path, places), by="position")
    assert trainer.dataset.channel_names[5:] == tuple(f"E{number}@cap_b" for number in range(5))
    assert trainer.model.config.channel_positions[6] == [30.0, 20.0, 0.0]
    findings = trainer.train_and_validate()["findings"]
    assert any("cap_a and cap_b have no channel in common" in one and "lies 20 mm from" in one for one in findings)
    assert any("No validation subject has the group cap_a" in one for one in findings)
    opened = load_experiment(tmp_path / "run").open(str(path), group="cap_b")
    assert opened.channel_names == tuple(f"E{number}" for number in range(5))


def test_without_positions_a_model_that_knows_channels_by_them_is_refused(tmp_path, strangers):
    with pytest.raises(DataError, match="nothing is known of where its channels lie"):
        trainer_of(tmp_path, strangers[0], by="position")


def test_a_group_without_positions_is_refused_though_another_has_some(tmp_path, strangers):
    path = with_places(strangers[0], {"cap_a": strangers[1]["cap_a"]})
    with pytest.raises(DataError, match="group cap_b has none of the channels that the model knows"):
        trainer_of(tmp_path, path, by="position")


def test_positions_in_different_spaces_are_refused(tmp_path, strangers):
    path, places = strangers
    with_places(path, places, space={"cap_a": "head", "cap_b": "scanner"})
    with pytest.raises(DataError, match="different spaces, those of group cap_a in 'head' and those of group cap_b in"):
        trainer_of(tmp_path, path, by="position")


def test_channels_that_hardly_differ_in_place_are_the_same():
    places = {"a": {"P1": np.zeros(3), "P2": np.ones(3), "P3": np.full(3, np.nan)}}
    places |= {"b": {"P1": np.full(3, 0.1), "P2": np.full(3, 5.0), "P3": np.ones(3)}, "c": {"P3": np.full(3, 9.0)}}
    assert channels_apart(places) == {"b": {"P2": "P2@b", "P3": "P3@b"}, "c": {"P3": "P3@c"}}
