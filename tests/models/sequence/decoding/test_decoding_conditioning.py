"""Decoders that are given a second group: the class is hidden by what that group explains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conditioned_data import RATE, study_of
from decoding_data import small, trainer_of
from scipy.stats import norm

from dynml import BatchLoader, BatchSampler, DatasetConfig, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataWarning
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer

BY_STIMULUS = DatasetConfig(conditioning_group="stimulus")
TRIAL, N_TRIALS, EFFECT = 10, 60, 0.6


def subject(seed):
    """Signals, what drives them, the same all through a trial, and the classes of trials, which shift a channel."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(N_TRIALS) % 2)
    driving = np.repeat(generator.normal(size=N_TRIALS), TRIAL)[:, None]
    signals = generator.normal(size=(N_TRIALS * TRIAL, 2)) + driving * [1.0, 0.5]
    signals[:, 0] += EFFECT * np.repeat(labels, TRIAL)
    return signals, driving, labels


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = {f"sub-{seed}": subject(seed) for seed in range(10)}
    study = study_of(
        tmp_path_factory.mktemp("decoding"),
        {name: [signals] for name, (signals, _, _) in made.items()},
        {name: [driving] for name, (_, driving, _) in made.items()},
        n_training=6,
        of_signals={"events": "events.tsv"},
    )
    for name, (_, _, labels) in made.items():
        rows = [
            f"{number * TRIAL / RATE:.2f}\t{TRIAL / RATE}\t{('low', 'high')[label]}"
            for number, label in enumerate(labels)
        ]
        text = "\n".join(["onset\tduration\tstimulus", *rows])
        (study.ready / name / "events.tsv").write_text(text, encoding="utf-8")
    study.create()
    return study.target


def dataset_of(store, config):
    dataset = MultiSubjectDataset(store, group="signals", config=config)
    dataset.load_data()
    return dataset


def test_the_class_comes_out_of_what_the_second_group_explains(store, tmp_path):
    settings = {"trainer": {"max_epochs": 1, "inner_folds": 0}, "linear_answer": "best"}
    found = {}
    for name, config in (("with", BY_STIMULUS), ("without", None)):
        summary = trainer_of(dataset_of(store, config), tmp_path, name, **settings).train_and_validate()
        found[name] = {"model": summary["accuracy"], **summary["baselines"]}
    # Of the mean over a trial: noise alone, or the driving and what it does not share with the second channel.
    conditioned = norm.cdf(EFFECT / 2 / np.sqrt(1 / TRIAL))
    left = np.linalg.inv(np.eye(2) / TRIAL + np.outer([1.0, 0.5], [1.0, 0.5]))[0, 0]
    unconditioned = norm.cdf(EFFECT / 2 * np.sqrt(left))
    assert conditioned - unconditioned > 0.08
    for answer in ("model", "linear"):
        assert found["with"][answer]["validation"] == pytest.approx(conditioned, abs=0.05)
        assert found["without"][answer]["validation"] == pytest.approx(unconditioned, abs=0.06)


def test_a_decoder_takes_over_a_model_with_its_second_group(store, tmp_path):
    dataset = dataset_of(store, BY_STIMULUS)
    torch.manual_seed(1)
    config = CsmConfig(embedding_dim=16, n_layers=2, n_positions=32)
    model = Csm(settled_model(config, dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=TRIAL, batch_size_training=64)
    loader = BatchLoader(dataset, model)
    SequenceTrainer(model, tmp_path, "csm", sampler, loader, max_epochs=1, progress=False).train_and_validate()
    path, settings = str(tmp_path / "csm"), small("csm") | {"allow_overlap": True, "fine_tuning": "frozen"}
    trainer = trainer_of(dataset, tmp_path, "decoder", pretrained=path, trainer={"max_epochs": 1}, **settings)
    trainer.train_and_validate()
    own, given = trainer.model.backbone.embedder.state_dict(), model.embedder.state_dict()
    assert {name: tuple(values.shape) for name, values in own.items()}["layers.0.weight"] == (16, 3)
    assert all(values.equal(given[name]) for name, values in own.items())
    without = dataset_of(store, None)
    with pytest.raises(ConfigurationError, match=r"conditioning_group is stimulus there and None here"):
        trainer_of(without, tmp_path, "without", pretrained=path, **settings)
    anew = trainer_of(without, tmp_path, "anew", pretrained=path, embedder_from_pretrained=False, **settings)
    assert anew.model.backbone.embedder.layers[0].weight.shape == (16, 2)
    later = dataclasses.replace(BY_STIMULUS, conditioning_lead=2)
    with pytest.warns(DataWarning), pytest.raises(ConfigurationError, match=r"4 channels as the data \(it has 3\)"):
        trainer_of(dataset_of(store, later), tmp_path, "later", pretrained=path, **settings)
