import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from decoding_data import RATE, configs_of, dataset_of, described, recording, small, trainer_of

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.configuration import config_to_dictionary
from dynml.errors import ConfigurationError, DataWarning
from dynml.models.registry import load
from dynml.models.sequence import channels
from dynml.models.sequence.decoding.answer.network_share import head_epochs_of
from dynml.models.sequence.decoding.backbones import MODELS
from dynml.models.sequence.decoding.config import CONFIGS_OF_BACKBONES, DecodingConfig, DecodingTrainerConfig
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.pretraining import load_pretrained, overlap_with_testing
from dynml.models.sequence.decoding.settling import settle_with_data
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.windows import Windows
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

SETTINGS = {
    "csm": {"objective": "single_mask"},
    "sequence_bert": {"next_sequence": True, "norm": "post"},
    "network_bert": {},
    "autoencoder": {},
}


def pretrain(folder, dataset, family="csm", name="pretraining", **settings):
    """An experiment folder with a model as it was made."""
    torch.manual_seed(5)
    own = {"embedding_dim": 16, "n_layers": 2, "n_positions": 32, "time_precision": 0.05, "max_seconds": 3.2}
    config = settled_model(CONFIGS_OF_BACKBONES[family](**own | SETTINGS[family] | settings), dataset)
    model = load(MODELS[family])(config, dataset.n_channels)
    parameters = {"family": family, "model": config_to_dictionary(config), "dataset": described(dataset)}
    experiment = ExperimentFolder(folder, name)
    experiment.path.mkdir()
    experiment.save_best_model(model.state_dict(), parameters, {})
    return str(experiment.path), model


@pytest.fixture(scope="module")
def others():
    """People whom no decoder here is tested on."""
    return dataset_of(2, 1, 0, names="xyz", first_seed=50)


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("family", MODELS)
def test_family_sizes_and_every_weight_are_taken_over(tmp_path, others, family, pooling):
    if family == "autoencoder" and pooling == "mean":
        pytest.skip("an autoencoder has a code, whatever the pooling")
    path, pretrained = pretrain(tmp_path, others, family)
    dataset = dataset_of(2, 1, 1)
    config = configs_of(dataset, path, pooling=pooling)["model"]
    assert (config.backbone, config.embedding_dim, config.norm) == (family, 16, pretrained.config.norm)
    assert config.backbone_settings == config_to_dictionary(pretrained.config)
    model = Decoding(config, dataset.n_channels)
    load_pretrained(model, path)
    theirs = pretrained.state_dict()
    for name, tensor in model.backbone.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)
    for part in ("embedder", "time_embedding", "encoder" if family == "autoencoder" else "transformer"):
        assert any(name.startswith(part) for name in model.backbone.state_dict())
    assert not any(name.startswith(("unembedder", "decoder", "linear")) for name in model.backbone.state_dict())
    assert config.pretraining_overlap == {
        "subjects": [],
        "participants": [],
        "files": [],
        "n_testing_subjects": 1,
        "files_compared": True,
    }


@pytest.mark.parametrize(
    ("family", "pooling"), [("csm", "mean"), ("sequence_bert", "class_token"), ("network_bert", "mean")]
)
def test_trials_are_read_from_the_class_token_only_where_pretraining_has_trained_it(tmp_path, others, family, pooling):
    path, _ = pretrain(tmp_path, others, family)
    dataset = dataset_of(2, 1, 1)
    assert configs_of(dataset, path)["model"].pooling == pooling
    assert configs_of(dataset, path, pooling="class_token")["model"].pooling == "class_token"
    assert configs_of(dataset, **small(family))["model"].pooling == "mean"


def test_heads_and_teachers_of_other_targets_are_left_behind(tmp_path, others):
    targets = {"next_sequence": False, "patch_length": 4, "latent_weight": 1.0, "spectral_weight": 1.0}
    path, pretrained = pretrain(tmp_path, others, "sequence_bert", **targets)
    dataset = dataset_of(2, 1, 1)
    model = Decoding(configs_of(dataset, path, pooling="mean")["model"], dataset.n_channels)
    load_pretrained(model, path)
    parts = {name.partition(".")[0] for name in model.backbone.state_dict()}
    assert parts == {"embedder", "time_embedding", "transformer"}
    for name, tensor in model.backbone.state_dict().items():
        torch.testing.assert_close(tensor, pretrained.state_dict()[name], rtol=0, atol=0)


def test_a_run_starts_from_the_weights_and_its_settings_need_the_experiment_no_more(tmp_path, others):
    path, pretrained = pretrain(tmp_path, others)
    dataset = dataset_of(2, 1, 1)
    trainer = trainer_of(dataset, tmp_path, pretrained=path, fine_tuning="frozen", trainer={"max_epochs": 1})
    summary = trainer.train_and_validate()
    for name, tensor in trainer.model.backbone.transformer.state_dict().items():
        torch.testing.assert_close(tensor, pretrained.transformer.state_dict()[name], rtol=0, atol=0)
    assert summary["pretrained"] == path
    assert summary["pretraining_overlap"]["subjects"] == []
    configs = configs_of(dataset, path)
    again = configs_of(dataset, "/gone", **dataclasses.asdict(configs["model"]))
    assert again == configs


def test_the_head_of_a_pretrained_model_learns_before_the_backbone_does(tmp_path, others):
    path, pretrained = pretrain(tmp_path, others)
    dataset = dataset_of(2, 1, 1)
    begin = pretrained.transformer.state_dict()
    for n_epochs, learns in ((2, False), (3, True)):
        settings = {"max_epochs": n_epochs, "head_epochs": 2, "inner_folds": 0, "warmup_steps": 1}
        run = trainer_of(dataset, tmp_path, f"epochs-{n_epochs}", pretrained=path, trainer=settings)
        assert run.train_and_validate()["head_epochs"] == 2
        moved = [not torch.equal(own, begin[name]) for name, own in run.model.backbone.transformer.state_dict().items()]
        assert any(moved) is learns
        assert run.model.head.weight.abs().sum() > 0
    schedule = {"schedule_by": "epoch", "warmup_steps": 0, "learning_rate_schedule": "constant"}
    settings = settings | schedule
    whole = trainer_of(dataset, tmp_path, "whole", pretrained=path, trainer=settings)
    whole.train_and_validate()
    trainer_of(dataset, tmp_path, "part", pretrained=path, trainer=settings | {"max_epochs": 1}).train_and_validate()
    rest = trainer_of(dataset, tmp_path, "part", pretrained=path, trainer=settings, resume="auto")
    rest.train_and_validate()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, rest.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "max_epochs", "n_epochs"),
    [
        ({}, 50, 10),
        ({}, 20, 4),
        ({}, 4, 0),
        ({"fine_tuning": "frozen"}, 50, 0),
        ({"fine_tuning": "linear_probe"}, 50, 0),
    ],
)
def test_a_fifth_of_the_epochs_and_at_most_ten_are_for_the_head(tmp_path, others, settings, max_epochs, n_epochs):
    path, _ = pretrain(tmp_path, others)
    run = trainer_of(dataset_of(2, 1, 1), tmp_path, pretrained=path, trainer={"max_epochs": max_epochs}, **settings)
    assert head_epochs_of(run, run.model) == n_epochs
    alone = trainer_of(dataset_of(2, 1, 1), tmp_path, name="alone", backbone="csm", trainer={"max_epochs": max_epochs})
    assert head_epochs_of(alone, alone.model) == 0


def test_folds_hold_the_backbone_as_the_run_does(tmp_path, others, monkeypatch):
    path, _ = pretrain(tmp_path, others)
    settings = {"max_epochs": 4, "head_epochs": 3, "patience": 1, "patience_delta": 100.0}
    run = trainer_of(dataset_of(3, 1, 1), tmp_path, pretrained=path, linear_answer="best", trainer=settings)
    held, hold = [], Decoding.hold_backbone
    monkeypatch.setattr(Decoding, "hold_backbone", lambda model, holds: (held.append(holds), hold(model, holds)))
    run.initialize()
    # Nothing is ever better by 100: patience begins after the epochs of the head, and each of both folds sees all four.
    assert held == [True] * 6 + [False] * 2


def test_head_epochs_without_a_backbone_to_hold_are_refused(tmp_path, others):
    path, _ = pretrain(tmp_path, others)
    dataset, trainer = dataset_of(2, 1, 1), DecodingTrainerConfig(head_epochs=3)
    for pretrained, settings in ((None, {}), (path, {"fine_tuning": "frozen"})):
        configs = {"model": DecodingConfig(target="stimulus", **settings), "sampler": BatchSamplerConfig()}
        with pytest.raises(ConfigurationError, match="trainer.head_epochs is 3, but must be absent"):
            settle_with_data(configs | {"trainer": trainer}, dataset, pretrained)


def test_another_number_of_channels_needs_an_embedder_learnt_anew(tmp_path, others):
    path, pretrained = pretrain(tmp_path, others)
    dataset = dataset_of(2, 1, 1, n_channels=6)
    with pytest.raises(
        ConfigurationError, match="6 channels as the data \\(it has 4\\).*embedder_from_pretrained false"
    ):
        configs_of(dataset, path)
    config = configs_of(dataset, path, embedder_from_pretrained=False)["model"]
    model = Decoding(config, 6)
    before = {name: tensor.clone() for name, tensor in model.backbone.embedder.state_dict().items()}
    load_pretrained(model, path)
    for name, tensor in model.backbone.embedder.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    for name, tensor in model.backbone.transformer.state_dict().items():
        torch.testing.assert_close(tensor, pretrained.transformer.state_dict()[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_dim": 32}, "model.embedding_dim is 32, but must be absent, or 16"),
        ({"backbone": "sequence_bert"}, "model.backbone is 'sequence_bert', but must be absent, or csm"),
        ({"backbone": "linear"}, "model.backbone is 'linear', but must be absent, or csm"),
    ],
)
def test_settings_that_contradict_the_pretrained_model_are_refused(tmp_path, others, settings, message):
    path, _ = pretrain(tmp_path, others)
    with pytest.raises(ConfigurationError, match=message):
        configs_of(dataset_of(2, 1, 1), path, **settings)


def test_recordings_faster_than_the_embedding_of_time_are_refused(tmp_path, others):
    path, _ = pretrain(tmp_path, others)
    with pytest.raises(ConfigurationError, match="at most 0.02 s, the sampling interval at 50 Hz"):
        configs_of(dataset_of(2, 1, 1, sampling_frequency=5 * RATE), path)


def test_weights_of_another_shape_are_named(tmp_path, others):
    path, _ = pretrain(tmp_path, others)
    dataset = dataset_of(2, 1, 1)
    config = configs_of(dataset, **small("csm", n_layers=1))["model"]
    with pytest.raises(ConfigurationError, match="transformer.blocks.1.*absent here"):
        load_pretrained(Decoding(config, 4), path)


def test_a_decoder_is_no_pretraining(tmp_path, others):
    path, _ = pretrain(tmp_path, others)
    folder = ExperimentFolder.at(path)
    weights, parameters = folder.load_model()
    folder.save_best_model(weights, parameters | {"family": "decoding"}, {})
    with pytest.raises(ConfigurationError, match="csm, .*, cortex_mae, dynemo, hmm \\(this one is of decoding\\)"):
        configs_of(dataset_of(2, 1, 1), path)


def test_a_pretraining_that_saw_a_testing_participant_is_refused_unless_allowed(tmp_path):
    path, _ = pretrain(tmp_path, dataset_of(1, 1, 0, names="xd", first_seed=50))
    dataset = dataset_of(2, 1, 1)
    assert dataset.testing_set.subjects == ["sub-d"]
    with pytest.raises(ConfigurationError, match="participants sub-d \\(1 of 1 subjects\\); --allow_overlap"):
        configs_of(dataset, path)
    overlap = configs_of(dataset, path, allow_overlap=True)["model"].pretraining_overlap
    assert (overlap["subjects"], overlap["participants"], overlap["files"]) == (["sub-d"], ["sub-d"], [])


def test_a_pretraining_that_saw_a_testing_file_under_another_name_is_found(tmp_path):
    # The last of the four recordings, seed 3, comes in the pre-training under the name of another person.
    path, _ = pretrain(tmp_path, MultiSubjectDataset.from_arrays({"sub-x": recording(60), "sub-y": recording(3)}))
    dataset = dataset_of(2, 1, 1)
    with pytest.raises(ConfigurationError, match="it saw 1 source files \\(1 of 1 subjects\\)"):
        configs_of(dataset, path)
    overlap = configs_of(dataset, path, allow_overlap=True)["model"].pretraining_overlap
    assert (overlap["participants"], overlap["files"]) == ([], ["sha-of-3"])


def test_what_only_the_pretraining_tested_on_is_no_overlap(tmp_path):
    path, _ = pretrain(tmp_path, dataset_of(1, 1, 1, names="xyd", first_seed=50))
    assert configs_of(dataset_of(2, 1, 1), path)["model"].pretraining_overlap["subjects"] == []


def test_where_both_split_by_runs_a_shared_participant_is_no_overlap_but_a_shared_run_is():
    dataset = dataset_of(1, 0, 2)
    names = dataset.testing_set.subjects
    by_runs = SimpleNamespace(
        split="runs",
        group=dataset.group,
        signal_source=dataset.signal_source,
        testing_set=SimpleNamespace(subjects=names, participants=["one", "one"], n_subjects=2),
    )
    empty = {"subjects": [], "participants": [], "sources": {}}
    seen = {"subjects": ["other-run"], "participants": ["one"], "sources": {"other-run": ["sha-of-99"]}}
    parameters = {"dataset": {"split": "runs", "subsets": {"training": seen, "validation": empty}}}
    assert overlap_with_testing(parameters, by_runs)["subjects"] == []
    seen["sources"]["other-run"].append("sha-of-1")
    assert overlap_with_testing(parameters, by_runs)["subjects"] == [names[0]]
    parameters["dataset"]["split"] = "participants"
    assert overlap_with_testing(parameters, by_runs)["subjects"] == names


@pytest.mark.parametrize("kind", ["name", "position"])
@pytest.mark.parametrize("family", MODELS)
def test_a_decoder_reads_the_channels_that_its_backbone_knows(tmp_path, family, kind, monkeypatch):
    by_name = {"Fz": [0.0, 60, 50], "Cz": [0.0, 0, 90], "Pz": [0.0, -60, 60], "Oz": [0.0, -90, 10]}

    def positions_of(dataset):
        return np.array([by_name.get(name, [np.nan] * 3) for name in dataset.channel_names]), "head"

    monkeypatch.setattr(channels, "positions_of", positions_of)
    names = ["Fz", "Cz", "Pz", "Oz"]
    people = {"sub-x": recording(60), "sub-y": recording(61)}
    named = {name: dataclasses.replace(one, channel_names=tuple(names)) for name, one in people.items()}
    path, _ = pretrain(tmp_path, MultiSubjectDataset.from_arrays(named), family, channel_embedding=kind)
    wider = tuple(["Pz", "X1", "Fz", "Oz", "X2"])
    parts = [{f"sub-{n}": dataclasses.replace(recording(n, n_channels=5), channel_names=wider)} for n in range(3)]
    dataset = MultiSubjectDataset.from_arrays(*parts)
    with pytest.warns(DataWarning, match=r"2 of 5 channels.*\(X1, X2\)"):
        model = Decoding(configs_of(dataset, path)["model"], 5).eval()
    load_pretrained(model, path)
    subset = dataset.training_set
    signals_BTC = subset.rows(0, 0, 24).reshape(2, 12, 5)
    features = features_of(model, signals_BTC)
    signals_BTC[..., [1, 4]] = 1e3
    assert torch.equal(features_of(model, signals_BTC), features)
    signals_BTC[..., 3] += 1
    assert not torch.equal(features_of(model, signals_BTC), features)
    anew = configs_of(dataset, path, embedder_from_pretrained=False)["model"]
    assert Decoding(anew, 5).backbone.channels is None
    load_pretrained(Decoding(anew, 5), path)


def features_of(model, signals_BTC):
    mask_BT = torch.ones(signals_BTC.shape[:2], dtype=torch.bool)
    seconds_BT = 0.1 * torch.arange(signals_BTC.shape[1], dtype=torch.float64).expand(mask_BT.shape)
    windows = Windows(signals_BTC, mask_BT, seconds_BT, torch.zeros(len(signals_BTC), dtype=torch.int64))
    with torch.no_grad():
        return model.features(windows)
