"""dynml_check_model.py on a small run of its own: files, verdicts, the report, and what is refused."""

import json

import numpy as np
import pytest
from running_scripts import run_script

from dynml.errors import CheckpointError, ConfigurationError

CHECK = "dynml_check_model.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five people who share two states that switch slowly."""
    from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
    from dynml.models.hmm.config import HMMInitializationConfig, HMMTrainerConfig

    folder = tmp_path_factory.mktemp("check")
    kind = ("hmm", folder / "store.hdf5", "--n_subjects", 5, "--n_validation_subjects", 0)
    sizes = ("--n_states", 2, "--n_channels", 3, "--n_samples", 300, "--n_testing_subjects", 0)
    run_script("dynml_simulate_data.py", *kind, *sizes)
    dataset = MultiSubjectDataset(folder / "store.hdf5")
    dataset.load_data()
    model = GaussianHMM(HMMConfig(n_states=2), 3)
    trainer = HMMTrainer(
        model,
        folder,
        "states",
        BatchSampler(dataset),
        BatchLoader(dataset, model, collate="packed"),
        config=HMMTrainerConfig(max_epochs=8),
        initialization=HMMInitializationConfig(n_init=1, n_epochs=4),
        progress=False,
    )
    trainer.train_and_validate()
    return folder


def test_verdicts_tables_pictures_and_the_report(folder):
    done = run_script(CHECK, folder / "states", folder / "store.hdf5", "--n_surrogates", 3, "--n_draws", 3)
    out = folder / "states_check"
    assert f"Results: {out}" in done.stdout
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert all(set(one) == {"value", "reference", "sentence", "holds"} for one in verdicts.values())
    names = {"dynamics", "occupancy_by_subject", "stasis", "motion", "global_signal", "surrogates_phases"}
    names |= {"surrogates_var", "predictive_covariance", "predictive_lifetimes", "split_half"}
    assert names <= set(verdicts)
    assert verdicts["dynamics"]["holds"] is True
    summary = json.loads((out / "summary.json").read_text())
    assert summary["results"] == "check"
    assert {one["path"] for one in summary["pictures"]} <= {path.name for path in out.glob("*.png")}
    rows = np.genfromtxt(out / "surrogates.tsv", delimiter="\t", dtype=None, encoding="utf-8", names=True)
    assert len(rows) == 7
    run_script("dynml_report.py", folder / "states", folder / "page.html", "--results", out)
    page = (folder / "page.html").read_text()
    assert "Is it dynamics?" in page
    assert page.count(verdicts["dynamics"]["sentence"].split("? ")[1]) >= 2, "in short, and in the table"
    again = run_script(CHECK, folder / "states", folder / "store.hdf5", status=2)
    assert "not empty" in again.stderr


def test_numbers_below_zero_and_families_without_states_are_refused(folder):
    from types import SimpleNamespace

    from dynml.analysis.checks.refitting import check_can_be_refitted
    from dynml.cli.commands.results.check_model import run_check
    from dynml.cli.parsing import Namespace
    from dynml.models.registry import get_family

    with pytest.raises(ConfigurationError, match="n_surrogates"):
        run_check(Namespace(n_surrogates=-1, n_draws=1, seed=0))
    with pytest.raises(CheckpointError, match="family csm"):
        check_can_be_refitted(SimpleNamespace(family=get_family("csm"), name="run"))
