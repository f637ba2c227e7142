import json
import pickle
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from backbones_making import cbramod_weights
from running_scripts import ran_here

from dynml.models.experiment import load_experiment
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

ROOT = Path(__file__).parents[2]


def run(script, *arguments):
    return subprocess.CompletedProcess([script], *ran_here(script, *arguments))


def assert_one_sentence(process, *words):
    assert (process.returncode, process.stdout) == (2, ""), process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert last.endswith(".")
    assert "Traceback" not in process.stderr
    for word in words:
        assert word in last


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, value in members.items():
            content = pickle.dumps(value)
            information = tarfile.TarInfo(name)
            information.size = len(content)
            tar.addfile(information, BytesIO(content))


def test_tars_become_a_store_and_faults_one_sentence(tmp_path):
    generator = np.random.default_rng(0)
    for person in range(4):
        signals = generator.normal(size=(30, 3)).astype(np.float32)
        members = {"a.bold.pyd": signals, "a.t_r.pyd": np.float32(2), "a.task_label.pyd": person % 2}
        write_tar(tmp_path / f"ds-x_sub-{person}_task-a.tar", members)
    (tmp_path / "names.json").write_text(json.dumps({"task_label": ["rest", "hand"]}))
    (tmp_path / "train.txt").write_text("ds-x_sub-0\nds-x_sub-1\nds-x_sub-2\n")
    (tmp_path / "test.txt").write_text("ds-x_sub-3\n")
    target = tmp_path / "store.hdf5"
    script = "dynml_import_webdataset.py"
    lists = ["--training", tmp_path / "train.txt", "--testing", tmp_path / "test.txt"]
    process = run(script, tmp_path, target, "--group", "fmri", "--target-names", tmp_path / "names.json", *lists)
    assert process.returncode == 0, process.stderr
    assert "3 training, 0 validation, 1 testing subjects, 4 participants, 4 runs, 3 networks in group fmri" in (
        process.stdout
    )
    assert faults_of_store(target) == []
    with Store(target) as store:
        assert store.events("ds-x_sub-3", "fmri").names == {"task_label": ("hand",)}
    assert_one_sentence(run(script, tmp_path, target), "store.hdf5 exists already")
    tars = sorted(tmp_path.glob("*.tar"))
    again = run(script, *tars, target, "-f", "--testing_fraction", 0.5, "--standardization", "per_run")
    assert again.returncode == 0, again.stderr
    assert "2 training, 0 validation, 2 testing" in again.stdout
    before = target.read_bytes()
    assert_one_sentence(run(script, tmp_path, target, "-f", "--standardization", "per_subject"), "standardization is")
    tars[1].write_bytes(tars[1].read_bytes()[:1000])
    assert_one_sentence(run(script, tmp_path, target, "-f"), "ds-x_sub-1_task-a.tar is truncated")
    assert target.read_bytes() == before


def small_causal_model():
    """Published names, 5 networks, width 64, no layer more than needed."""
    there, block = "decoder.transformer", "decoder.transformer.h.0"
    shapes = {"embedder.embed_model.model.0": (64, 5), "embedder.embed_model.model.1": (64,)}
    shapes |= {"unembedder.model.0": (5, 64), f"{there}.ln_f": (64,), f"{block}.ln_1": (64,), f"{block}.ln_2": (64,)}
    weights = {}
    for name, shape in shapes.items():
        weights |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    for name, shape in (("attn.c_attn", (64, 192)), ("attn.c_proj", (64, 64)), ("mlp.c_fc", (64, 256))):
        weights |= {f"{block}.{name}.weight": torch.randn(shape), f"{block}.{name}.bias": torch.randn(shape[1])}
    weights |= {f"{block}.mlp.c_proj.weight": torch.randn(256, 64), f"{block}.mlp.c_proj.bias": torch.randn(64)}
    weights |= {f"{there}.wpe.weight": torch.randn(32, 64), f"{there}.wte.weight": torch.randn(1, 64)}
    weights |= {"embedder.wt_re.weight": torch.randn(101, 64)}
    return weights | {f"embedder.{token}_embed": torch.randn(1, 1, 5) for token in ("msk", "cls")}


def test_weights_become_an_experiment_and_faults_one_sentence(tmp_path):
    weights, path = small_causal_model(), tmp_path / "pytorch_model.bin"
    torch.save(weights, path)
    (tmp_path / "seen.txt").write_text("ds-x_sub-1\n")
    (tmp_path / "names.txt").write_text("V1\nV2\nM1\nS1\nA1\n")
    script = "dynml_import_weights.py"
    process = run(script, path, tmp_path, "plain", "--family", "csm")
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("Warning:") == 1
    assert "--seen_participants says it" in process.stderr
    assert "plain: csm of 5 networks" in process.stdout
    assert "--model.embedding_dim 64 --model.n_layers 1 --model.n_heads 1 --model.n_positions 32" in process.stdout
    options = ["--channel_names", tmp_path / "names.txt", "--seen_participants", tmp_path / "seen.txt"]
    process = run(script, path, tmp_path, "named", "--family", "csm", "--time_precision", 0.5, *options)
    assert (process.returncode, process.stderr) == (0, "")
    experiment = load_experiment(tmp_path / "named")
    assert experiment.parameters["dataset"]["channel_names"] == ["V1", "V2", "M1", "S1", "A1"]
    assert experiment.parameters["dataset"]["subsets"]["training"]["subjects"] == ["ds-x_sub-1"]
    assert experiment.model.config.max_seconds == 50.0
    assert_one_sentence(run(script, path, tmp_path, "named", "--family", "csm"), "named exists already")
    assert_one_sentence(run(script, path, tmp_path, "new", "--family", "cms"), "family is 'cms'")
    assert_one_sentence(run(script, path, tmp_path / "nowhere", "new", "--family", "csm"), "does not exist")
    del weights["embedder.wt_re.weight"]
    torch.save(weights, path)
    assert_one_sentence(run(script, path, tmp_path, "new", "--family", "csm"), "lacks embedder.wt_re.weight")
    assert not (tmp_path / "new").exists()


def test_a_published_backbone_is_imported_with_its_licence_and_another_file_is_refused(tmp_path):
    path, script = tmp_path / "pretrained_weights.pth", "dynml_import_weights.py"
    torch.save(cbramod_weights(1, 16), path)
    process = run(script, path, tmp_path, "cbramod", "--family", "cbramod")
    assert process.returncode == 0, process.stderr
    assert "cbramod: CBraMod of 1 layers, " in process.stdout
    assert "2 tensors of its way back to signals left out" in process.stdout
    assert "CBraMod: the licence of its weights was not verified" in process.stderr
    assert_one_sentence(run(script, path, tmp_path, "other", "--family", "cortex_mae"), "entries args and model")
    assert_one_sentence(
        run(script, path, tmp_path, "other", "--family", "cbramod", "--activation", "gelu"), "--activation is 'gelu'"
    )
    torch.save(small_causal_model(), path)
    assert_one_sentence(run(script, path, tmp_path, "other", "--family", "cbramod"), "which weights of cbramod have")
    assert not (tmp_path / "other").exists()
