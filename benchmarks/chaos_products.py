"""What stands beside recordings (configs, lists, tables), and what dynml itself writes."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from chaos_specimens import RATE, Specimen, make_store, make_store_of_table, signals, write_study

# ---------------------------------------------------------------------- what stands beside recordings


def tables() -> list[Specimen]:
    """Configs, lists, events, participants and tables of files."""
    events = "onset\tduration\ttrial_type\n" + "".join(f"{n / 4}\t0.1\t{'ab'[n % 2]}\n" for n in range(8))
    people = "participant_id\tparticipant\tage\tsite\nsub-a\tp1\t31\tx\nsub-b\tp2\tn/a\ty\n"
    table = "subject\tfile\tage\tsubset\nsub-a\tready/sub-a/run.npy\t30\ttraining\n"

    def study(folder: Path, **settings: Any) -> Path:
        config = {"participants": "participants.tsv", "split": "participants"}
        settings = {"sampling_frequency": RATE, "events": "events.tsv", **settings}
        subject = write_study(folder, "run.npy", settings, config)
        np.save(subject / "run.npy", signals())
        (subject / "events.tsv").write_text(events)
        (folder / "participants.tsv").write_text(people)
        return subject

    def prepared(folder: Path) -> None:
        steps = [{"step": "notch", "frequency": 20}, {"step": "pca", "n_components": 3}, "detrend"]
        study(folder, preparation=steps, standardization="per_run", missing="segment", units="uV", detrend=False)

    def of_table(folder: Path) -> None:
        study(folder)
        content = json.loads((folder / "config.json").read_text())
        del content["signals"]["files"], content["signals"]["events"], content["participants"]
        (folder / "config.json").write_text(json.dumps(content))
        (folder / "table.tsv").write_text(table.replace("\tsubset", "").replace("\ttraining", ""))

    def names_in_file(folder: Path) -> None:
        study(folder, channel_names="names.txt")
        (folder / "names.txt").write_text("a\nb\nc\nd\n")

    return [
        Specimen("events.tsv", study, ("ready/sub-a/events.tsv",), make_store),
        Specimen("participants.tsv", study, ("participants.tsv",), make_store),
        Specimen("config of a store (json)", prepared, ("config.json",), make_store),
        Specimen("list of subjects", study, ("training.txt",), make_store),
        Specimen("names of channels", names_in_file, ("names.txt",), make_store),
        Specimen("table of files", of_table, ("table.tsv",), make_store_of_table),
    ]


# ---------------------------------------------------------------------- tars, experiments, stores


def archives() -> list[Specimen]:
    """Tar files in the layout of learning-from-brains."""
    return [
        Specimen(f"tar{end}", lambda folder, end=end: write_tar(folder, end), (tar_name(end),), import_tar)
        for end in ("", ".gz")
    ]


def tar_name(end: str) -> str:
    """Path of the tar in its folder, by its ending."""
    return f"tars/ds-x_sub-1_task-rest_run-1.tar{end}"


def write_tar(folder: Path, end: str) -> None:
    """A run with one label."""
    path = folder / tar_name(end)
    path.parent.mkdir()
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, value in (("bold", signals()), ("t_r", np.float32(0.72)), ("label", "left")):
            member = pickle.dumps(value, 4)
            entry = tarfile.TarInfo(f"run.{name}.pyd")
            entry.size = len(member)
            tar.addfile(entry, BytesIO(member))
    path.write_bytes(gzip.compress(content.getvalue(), mtime=0) if end else content.getvalue())


def import_tar(folder: Path) -> None:
    """Make a store of the folder's tars."""
    from dynml.exchange.webdataset_import import TarImport, import_webdataset

    settings = TarImport(inputs=[folder / "tars"], validation_fraction=0.0, testing_fraction=0.0)
    import_webdataset(settings, folder / "store.hdf5", overwrite=True)


def products() -> list[Specimen]:
    """What dynml itself writes, and the config of a run."""
    best = "runs/hmm/best_model"
    return [
        Specimen("store", write_products, ("store.hdf5",), _read_store),
        Specimen("weights (safetensors)", write_products, (f"{best}/model.safetensors",), _load_resealed),
        Specimen("parameters.json", write_products, (f"{best}/parameters.json",), _load_resealed),
        Specimen("manifest.json", write_products, (f"{best}/manifest.json",), _load),
        Specimen("state.pt", write_products, ("runs/hmm/checkpoint/state.pt",), _load_checkpoint),
        Specimen("config of a run (yaml)", write_products, ("config.yaml",), _parse_run),
        Specimen("folds and subsets (json)", write_products, ("subsets.json",), _read_store),
    ]


YAML = """model:
  n_states: 3
  covariance_type: full
trainer:
  max_epochs: 2
  patience: null
  tolerance: 1.0e-5
sampler:
  batch_size_training: 500
dataset:
  subsets: null
"""


def write_products(folder: Path) -> None:
    """A store, an experiment of two epochs, and configs."""
    from dynml.conversion.creation import create_store

    write_study(folder, "run.npy", {"sampling_frequency": RATE})
    for subject in ("sub-a", "sub-b"):
        (folder / "ready" / subject).mkdir(exist_ok=True)
        np.save(folder / "ready" / subject / "run.npy", signals(int(subject == "sub-b")))
    (folder / "training.txt").write_text("sub-a\nsub-b\n")
    create_store(folder / "ready", folder / "store.hdf5", folder / "config.json", {"training": folder / "training.txt"})
    (folder / "subsets.json").write_text(json.dumps({"training": ["sub-a"], "validation": ["sub-b"], "testing": []}))
    (folder / "config.yaml").write_text(YAML)
    (folder / "runs").mkdir()
    hmm_trainer(folder, max_epochs=2).train_and_validate()


def hmm_trainer(folder: Path, **settings: Any) -> Any:
    """Trainer of a small HMM on the folder's store."""
    from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset

    dataset = MultiSubjectDataset(folder / "store.hdf5", group="signals")
    dataset.load_data()
    model = GaussianHMM(HMMConfig(n_states=2), dataset.n_channels)
    loader = BatchLoader(dataset, model, collate="packed")
    sampler = BatchSampler(dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=500)
    return HMMTrainer(model, folder / "runs", "hmm", sampler, loader, progress=False, saving_share=1.0, **settings)


def _read_store(folder: Path) -> None:
    from dynml import MultiSubjectDataset
    from dynml.dataset.config import DatasetConfig

    config = DatasetConfig(subsets=str(folder / "subsets.json"))
    MultiSubjectDataset(folder / "store.hdf5", group="signals", config=config).load_data()


def _load(folder: Path) -> None:
    from dynml.models.experiment import load_experiment

    load_experiment(folder / "runs" / "hmm")


def _resealed(folder: Path) -> None:
    """Make the manifest fit the damaged files, so that they are not refused by their checksums alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _load_resealed(folder: Path) -> None:
    _resealed(folder / "runs/hmm/best_model")
    _load(folder)


def _load_checkpoint(folder: Path) -> None:
    from dynml.training.checkpoints.experiment_folder import ExperimentFolder

    _resealed(folder / "runs/hmm/checkpoint")
    ExperimentFolder.at(folder / "runs" / "hmm").load_checkpoint()


def _parse_run(folder: Path) -> None:
    from dynml.cli.commands.train import parse_training

    places = [str(folder / "runs"), "new", str(folder / "store.hdf5"), "signals"]
    sys.argv = ["dynml_train_model.py", "hmm", *places, "--config", str(folder / "config.yaml")]
    parse_training(None)
