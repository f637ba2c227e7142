"""A model of a user's own trains by a few lines, and a family of another package from the command line."""

import json
import textwrap

import numpy as np
import pytest
import torch
from running_scripts import create_store, run_script

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, Trainer

TRANSITION = np.array([[0.8, 0.3, 0.0], [-0.3, 0.8, 0.0], [0.0, 0.0, 0.5]])

FAMILY = """
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class StepConfig:
        '''One step ahead.'''

        bias: bool = False
        '''Learn an offset too.'''
"""

MODEL = """
    import torch

    class Step(torch.nn.Module):
        def __init__(self, config, n_channels):
            super().__init__()
            self.linear = torch.nn.Linear(n_channels, n_channels, bias=config.bias)

        def forward(self, signals):
            return self.linear(signals[:, :-1])

        def compute_loss(self, outputs, batch):
            squares = (outputs - batch.signals[:, 1:]).square().mean(dim=2)
            mask = batch.mask[:, 1:]
            return squares[mask].mean(), int(mask.sum())
"""

REGISTRATION = """
    from dynml.models.registry import Family

    FAMILY = Family(
        name="one_step",
        model_config="one_step.config:StepConfig",
        model="one_step.model:Step",
        sampler_defaults={"window_length": 100, "batch_size_training": 4},
    )
"""

INFERENCE = """
    import json
    from types import SimpleNamespace

    import numpy as np
    import torch
    from dynml.models.inferred import InferredSubject

    KIND = InferredSubject

    def infer(model, subset, *, dual_estimation=False):
        for index, subject in enumerate(subset.subjects):
            table = subset.segments.take(subset.segments.subject == index)
            signals = np.concatenate([subset.read(index, a, b).numpy() for a, b in zip(table.start, table.stop)])
            fields = {
                "subject": subject,
                "alpha": np.stack([signals[:, 0] > 0, signals[:, 0] <= 0], axis=1).astype(np.float32),
                "segments": np.stack([table.start, table.stop], axis=1),
                "log_likelihood": -2.5 * len(signals),
                "n_samples": len(signals),
                "sampling_frequency": float(subset.sampling_frequencies[index]),
            }
            yield KIND(**fields)

    def count(model):
        return 7

    def write_inference(experiment, dataset, subset_names, out_folder):
        (out_folder / "own.json").write_text(json.dumps(list(subset_names)))
        return "Own words."
"""
DECLARED = """inference="one_step.inference:infer",
        components="modes",
        n_free_parameters="one_step.inference:count",
"""


class MyModel(torch.nn.Module):
    """Layers only: no file, no window, no device."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(n_channels, n_channels, bias=False)

    def forward(self, signals):
        return self.linear(signals[:, :-1])

    def compute_loss(self, outputs, batch):
        squares = (outputs - batch.signals[:, 1:]).square().mean(dim=2)
        mask = batch.mask[:, 1:]
        return squares[mask].mean(), int(mask.sum())


def autoregressive_signals(n_samples, seed):
    """x_t = A x_t-1 + noise, with the A that a model should find."""
    generator = np.random.default_rng(seed)
    signals = np.zeros((n_samples, 3))
    for t in range(1, n_samples):
        signals[t] = TRANSITION @ signals[t - 1] + generator.normal(size=3)
    return signals.astype(np.float32)


@pytest.fixture(scope="module")
def hdf5_file(tmp_path_factory):
    arrays = {f"sub-{i}": [autoregressive_signals(1500, seed=i)] for i in range(4)}
    subsets = {"training": ["sub-0", "sub-1", "sub-2"], "validation": ["sub-3"]}
    return create_store(tmp_path_factory.mktemp("own"), arrays, subsets, standardization="none")


def test_the_lines_of_the_training_page_train_a_users_model(hdf5_file, tmp_path):
    # Loading the data, possibly with lazy option
    dataset = MultiSubjectDataset(hdf5_file, "lazy")
    dataset.load_data()

    # Preparing your model
    model = MyModel(dataset.n_channels)

    # Preparing the BatchSampler
    batch_sampler = BatchSampler(dataset=dataset, window_length=100, batch_size_training=4)

    # Preparing the BatchLoader
    batch_loader = BatchLoader(dataset=dataset, model=model, input_group_name="signals")

    # Preparing your trainer
    trainer = Trainer(
        model=model,
        experiments_path=tmp_path,
        experiment_name="mine",
        batch_sampler=batch_sampler,
        batch_loader=batch_loader,
        max_epochs=20,
        learning_rate=0.02,
        progress=False,
    )

    # Run the training!
    trainer.train_and_validate()

    np.testing.assert_allclose(model.linear.weight.detach(), TRANSITION, atol=0.06)
    assert (tmp_path / "mine" / "best_model" / "model.safetensors").exists()


def packaged(folder, family, parts):
    """Environment in which a package `one_step` registers a family of that name."""
    package = folder / "site" / "one_step"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    for name, text in parts.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    information = folder / "site" / "one_step-1.0.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: one-step\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[dynml.families]\n{family} = one_step.family:FAMILY\n")
    return {"PYTHONPATH": str(folder / "site")}


def test_a_family_of_another_package_trains_and_resumes_from_the_command_line(hdf5_file, tmp_path):
    environment = packaged(tmp_path, "one_step", {"config": FAMILY, "model": MODEL, "family": REGISTRATION})

    shown = run_script("dynml_train_model.py", "one_step", "--help", environment=environment).stdout
    assert "--model.bias" in shown
    assert "Learn an offset too." in shown
    arguments = ("one_step", tmp_path, "run", hdf5_file, "signals", "--trainer.max_epochs", 3)
    run_script("dynml_train_model.py", *arguments, "--model.bias", "true", environment=environment)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["family"], summary["epochs"]) == ("one_step", 3)
    parameters = json.loads((tmp_path / "run" / "parameters_latest.json").read_text())
    assert parameters["family_package"] == "one-step 1.0"
    run_script(
        "dynml_resume_training_from_checkpoint.py", tmp_path, "run", "--new_max_epochs", 5, environment=environment
    )
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 5
    failed = run_script("dynml_train_model.py", "one_stop", *arguments[1:], status=2, environment=environment)
    assert "did you mean 'one_step'" in failed.stderr


def test_a_family_of_another_package_is_inferred_from_by_what_it_declares(hdf5_file, tmp_path):
    parts = {"config": FAMILY, "model": MODEL, "inference": INFERENCE}
    declared = REGISTRATION.replace("sampler_defaults", f"{DECLARED}        sampler_defaults")
    environment = packaged(tmp_path, "one_step", parts | {"family": declared})
    arguments = ("one_step", tmp_path, "run", hdf5_file, "signals", "--trainer.max_epochs", 1)
    run_script("dynml_train_model.py", *arguments, environment=environment)

    def inferred(out, *options, status=0):
        script = "dynml_infer_from_model.py"
        return run_script(
            script, tmp_path / "run", hdf5_file, tmp_path / out, *options, status=status, environment=environment
        )

    shown = inferred("out").stdout
    assert f"4 subjects inferred (participants). Results: {tmp_path / 'out'}\nNext: dynml_compute_spectra.py" in shown
    assert shown.splitlines()[-1].startswith("Next: dynml_report.py")
    assert "dynml_compute_responses.py" not in shown, "the store has no events"
    alpha = np.load(tmp_path / "out" / "sub-3_alpha.npy")
    np.testing.assert_array_equal(alpha[:, 0], autoregressive_signals(1500, seed=3)[:, 0] > 0)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["free_energy"]["subjects"] == dict.fromkeys([f"sub-{i}" for i in range(4)], 2.5)
    criteria = summary["training_information_criteria"]
    assert (criteria["n_parameters"], criteria["n_samples"]) == (7, 4500)
    assert criteria["aic"] == 2 * 7 + 2 * 2.5 * 4500
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix not in ("", ".json")}
    tables = {"alpha_correlations", "alpha_statistics", "state_statistics", "subject_statistics", "transitions"}
    tables |= {"visits", "windows"}
    assert names == {*(f"sub-{i}_alpha.npy" for i in range(4)), *(f"{table}.tsv" for table in tables)}
    assert "no means and covariances" in inferred("dual", "--dual_estimation", status=2).stderr

    plain = INFERENCE.replace("def infer(model, subset, *, dual_estimation=False)", "def infer(model, subset)")
    plain = plain.replace("    def infer", "    @torch.no_grad()\n    def infer", 1)
    packaged(tmp_path, "one_step", {"inference": plain})
    assert "4 subjects inferred" in inferred("plain").stdout
    assert "one_step has no dual_estimation" in inferred("dual", "--dual_estimation", status=2).stderr

    inference = INFERENCE.replace("KIND = InferredSubject", "KIND = SimpleNamespace")
    packaged(tmp_path, "one_step", {"inference": inference})
    assert "4 subjects inferred" in inferred("other_class").stdout
    packaged(tmp_path, "one_step", {"inference": inference.replace('"n_samples"', '"n"')})
    failed = inferred("lacking", status=2).stderr
    assert "one_step gives a SimpleNamespace without 'n_samples'" in failed
    assert len(failed.strip().splitlines()) == 1

    declared = declared.replace(
        "components=", 'write_inference="one_step.inference:write_inference",\n        components='
    )
    packaged(tmp_path, "one_step", {"family": declared})
    shown = inferred("own").stdout
    assert f"Own words. Results: {tmp_path / 'own'}\n" in shown
    assert shown.splitlines()[-1].startswith("Next: dynml_report.py")
    assert "--results" not in shown, "a report cannot read the family's own files"
    assert json.loads((tmp_path / "own" / "own.json").read_text()) == ["training", "validation", "testing"]
    run_script(
        "dynml_report.py",
        tmp_path / "run",
        tmp_path / "own.html",
        "--hdf5",
        hdf5_file,
        environment=environment,
    )
    assert "one_step" in (tmp_path / "own.html").read_text(encoding="utf-8")
