"""What a user gets who makes a mistake or whose disk does: one sentence, status 2, and nothing half-written."""

import json
import random
import shutil
import signal
import time

import h5py
import pytest
from running_hmms import INFER, RESUME, TRAIN, commit_stamps, start, switching_signals, train, wait_for_commits
from running_scripts import create_store, run_script

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.training.costs import COST_ENDINGS


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model.n_sttes", "3"], "did you mean '--model.n_states'"),
        (["--model.n_states", "0"], "model.n_states is 0, but must be a whole number of at least 1"),
        (["--model.n_states", "5000"], "at most the number of training samples (1800)"),
        (["--model.n_states", "two"], "model.n_states: Expected a whole number"),
        (["--model.covariance_type", "ful"], "'full', 'diagonal'"),
        (["--trainer.max_epochs", "0"], "trainer.max_epochs is 0"),
        (["--trainer.learning_rate", "0.1"], "--trainer.learning_rate is not an argument"),
        (["--trainer.device", "cuda:99"], "trainer.device"),
        (["--sampler.batch_size_training", "0"], "sampler.batch_size_training is 0"),
        (["--dataset.folds", "3"], "dataset.fold is None"),
        (["--dataset.subsets", "nowhere.json"], "nowhere.json does not exist"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--pretrained", "nowhere"], "does not exist"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_made(hdf5_file, tmp_path, arguments, sentence):
    done = train(tmp_path, hdf5_file, "run", *arguments, status=2)
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_wrong_places_are_named(hdf5_file, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is not a folder" in train(tmp_path / "file", hdf5_file, status=2).stderr
    assert "does not exist; create it" in run_script(RESUME, tmp_path / "nowhere", "x", status=2).stderr
    assert "a plain folder name" in train(tmp_path, hdf5_file, "a/b", status=2).stderr
    assert "did you mean 'hmm'" in run_script(TRAIN, "hm", tmp_path, "x", hdf5_file, "signals", status=2).stderr
    assert "are missing" in run_script(TRAIN, "hmm", tmp_path, status=2).stderr
    sizes = ("--model.n_states", 2)
    missing = run_script(TRAIN, "hmm", tmp_path, "x", hdf5_file, "signal", *sizes, status=2)
    assert "signals" in missing.stderr
    nowhere = run_script(TRAIN, "hmm", tmp_path, "x", tmp_path / "no.hdf5", "signals", *sizes, status=2)
    assert "no.hdf5" in nowhere.stderr
    assert "is not an experiment" in run_script(RESUME, tmp_path, "nothing", status=2).stderr
    assert "does not exist" in run_script(INFER, tmp_path / "x", hdf5_file, tmp_path / "o", status=2).stderr


def damaged(hdf5_file, target, *, flip=False, cut=False):
    content = bytearray(hdf5_file.read_bytes())
    if flip:
        with h5py.File(hdf5_file) as file:
            chunk = file["subjects/sub-0/signals/data"].id.get_chunk_info(0)
        content[chunk.byte_offset + 100] ^= 1
    target.write_bytes(content[: len(content) // 2] if cut else content)
    return target


def test_a_flipped_bit_is_found_before_training(hdf5_file, tmp_path):
    for residency in ("memory", "lazy"):
        store = damaged(hdf5_file, tmp_path / "flipped.hdf5", flip=True)
        done = train(tmp_path, store, "run", "--loader.residency", residency, status=2)
        assert "sub-0" in done.stderr
        assert not (tmp_path / "run").exists()
    assert "sub-0" in run_script("dynml_hdf5_verify.py", tmp_path / "flipped.hdf5", status=2).stderr


def test_a_truncated_store_and_a_foreign_file_are_one_sentence(hdf5_file, tmp_path):
    assert "cut.hdf5" in train(tmp_path, damaged(hdf5_file, tmp_path / "cut.hdf5", cut=True), status=2).stderr
    (tmp_path / "text.hdf5").write_text("not a store")
    assert "text.hdf5" in train(tmp_path, tmp_path / "text.hdf5", status=2).stderr


def test_an_experiment_is_not_overwritten_and_resume_auto_repeats_the_command(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file)
    assert "exists already" in train(tmp_path, hdf5_file, status=2).stderr
    before = (tmp_path / "run" / "summary.json").read_bytes()
    train(tmp_path, hdf5_file, "run", "--resume", "auto")
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_going_on_with_another_model_or_other_data_is_refused_with_the_difference(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file)
    other = train(tmp_path, hdf5_file, "run", "--resume", "auto", "--model.learn_means", "false", status=2)
    assert "model.learn_means: True -> False" in other.stderr
    (tmp_path / "other").mkdir()
    arrays = {f"sub-{i}": [switching_signals(600, 50 + i)] for i in range(3)}
    store = create_store(tmp_path / "other", arrays, {"training": ["sub-0", "sub-1"], "validation": ["sub-2"]})
    refused = run_script(RESUME, tmp_path, "run", "--new_max_epochs", 50, "--hdf5_file", store, status=2)
    assert "dataset.fingerprint" in refused.stderr


def test_a_run_made_from_arrays_is_resumed_in_python_only(tmp_path):
    dataset = MultiSubjectDataset.from_arrays([switching_signals(300, 0)])
    model = GaussianHMM(HMMConfig(n_states=2), 5)
    loader = BatchLoader(dataset, model, collate="packed")
    HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), loader, max_epochs=2, progress=False).train_and_validate()
    assert "was made from arrays" in run_script(RESUME, tmp_path, "run", "--new_max_epochs", 3, status=2).stderr


def metrics(folder):
    rows = (folder / "logs" / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    keep = [i for i, name in enumerate(names) if not name.endswith(COST_ENDINGS)]
    return [[row.split(",")[i] for i in keep] for row in rows]


def test_kill_9_and_sigterm_at_random_times_lose_nothing_but_time(hdf5_file, tmp_path):
    """The time is random but for how many checkpoints there were before, so that slow machines come to an end too."""
    begin = time.monotonic()
    whole = start(tmp_path, hdf5_file, "whole")
    assert whole.wait() == 0, whole.stderr.read()
    longest = 0.05 * (time.monotonic() - begin)
    generator, n_killed = random.Random(1), 0
    experiment = tmp_path / "broken"
    for attempt in range(4):
        stamps = commit_stamps(experiment)
        process = start(tmp_path, hdf5_file, "broken")
        wait_for_commits(experiment, process, (0, 4, 1, 10)[attempt], stamps)
        time.sleep(generator.uniform(0.0, longest))
        process.send_signal(signal.SIGTERM if attempt % 3 == 2 else signal.SIGKILL)
        status = process.wait()
        assert status in (0, -signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM), process.stderr.read()
        n_killed += status != 0
    last = start(tmp_path, hdf5_file, "broken")
    assert last.wait() == 0, last.stderr.read()
    assert n_killed >= 2
    assert metrics(experiment) == metrics(tmp_path / "whole")
    for folder in ("best_model", "checkpoint"):
        weights = [(tmp_path / name / folder / "model.safetensors").read_bytes() for name in ("whole", "broken")]
        assert weights[0] == weights[1]


def test_results_do_not_go_into_the_folder_of_an_experiment(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file)
    before = (tmp_path / "run" / "summary.json").read_bytes()
    refused = run_script(INFER, tmp_path / "run", hdf5_file, tmp_path / "run", "-f", status=2)
    assert "is the folder of an experiment" in refused.stderr
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_inference_refuses_other_channels_and_a_full_folder(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file)
    (tmp_path / "narrow").mkdir()
    store = create_store(tmp_path / "narrow", {"a": [switching_signals(200, 0, 3)]}, {"training": ["a"]})
    refused = run_script(INFER, tmp_path / "run", store, tmp_path / "out", status=2)
    assert "channels in the training data and 3 here" in refused.stderr
    run_script(INFER, tmp_path / "run", hdf5_file, tmp_path / "out", "--subset", "validation")
    assert "not empty" in run_script(INFER, tmp_path / "run", hdf5_file, tmp_path / "out", status=2).stderr
    run_script(INFER, tmp_path / "run", hdf5_file, tmp_path / "out", "-f", "--dual_estimation")
    free_energy = json.loads((tmp_path / "out" / "summary.json").read_text())["free_energy"]
    assert set(free_energy["subjects"]) == {"sub-0", "sub-1", "sub-2", "sub-3"}
    assert free_energy["validation"] == pytest.approx(
        json.loads((tmp_path / "run" / "summary.json").read_text())["free_energy"]["validation"], abs=1e-8
    )


def test_a_damaged_best_model_is_refused(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file)
    # A long enough run has saved a best model before, which would serve.
    shutil.rmtree(tmp_path / "run" / "best_model.previous", ignore_errors=True)
    weights = tmp_path / "run" / "best_model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(bytes(content))
    refused = run_script(INFER, tmp_path / "run", hdf5_file, tmp_path / "out", status=2)
    assert "the checksum of model.safetensors differs" in refused.stderr
