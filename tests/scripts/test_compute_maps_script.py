import csv
import json
import sys

import nibabel
import numpy as np
import pytest
from running_scripts import run_here

from dynml.datasets import write_haxby2001_ready_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    ready = write_haxby2001_ready_folder(folder / "haxby")
    store = folder / "haxby.hdf5"
    (folder / "experiments").mkdir()
    lists = (ready.training, ready.validation, ready.testing)
    run_here("dynml_create_hdf5_dataset.py", ready.subjects_folder, store, ready.config, *lists)
    settings = ["--model.n_states", 2, "--initialization.n_init", 1, "--trainer.max_epochs", 3]
    run_here("dynml_train_model.py", "hmm", folder / "experiments", "h", store, "bold", *settings)
    return folder


def spectra(folder, n_states=2, n_channels=21):
    folder.mkdir()
    frequencies = np.linspace(0.01, 0.2, 20)
    power = np.ones((3, n_states, n_channels, 20))
    power[:, 0, 4] = 3.0
    coherence = np.random.default_rng(0).uniform(0, 0.1, (3, n_states, n_channels, n_channels, 20))
    coherence = (coherence + coherence.transpose(0, 1, 3, 2, 4)) / 2
    coherence[:, 0, 2, 9] = coherence[:, 0, 9, 2] = 0.9
    np.savez(folder / "spectra.npz", frequencies=frequencies, power=power, coherence=coherence, subjects=list("abc"))
    return folder


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_maps_of_spectra_land_in_tables_images_and_pictures(trained):
    out, folder = trained / "maps", spectra(trained / "spectra")
    run_here(
        "dynml_compute_maps.py", trained / "experiments/h", trained / "haxby.hdf5", out, "--spectra", folder,
        "--bands", "low=0.02-0.1", "--edges", "99", "--what", "power", "networks",
    )  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["results"] == "maps"
    share = summary["occupancies"][1]
    # The band of 0.08 Hz has a variance of 3 * 0.08 in state 1, 0.08 in state 2, and their weighted mean between.
    (row,) = [
        row
        for row in rows_of(out / "maps.tsv")
        if (row["band"], row["state"], row["channel"]) == ("low", "1", "Temporal Pole")
    ]
    assert float(row["value"]) == pytest.approx(0.24)
    assert float(row["relative"]) == pytest.approx(0.16 * share, rel=1e-5)
    image = nibabel.load(out / "images/power_low.nii.gz")
    labels = np.asarray(nibabel.load(trained / "haxby/atlas.nii.gz").dataobj)
    np.testing.assert_allclose(image.get_fdata()[labels == 8][:, 0], 0.24, rtol=1e-6)
    edges = [row for row in rows_of(out / "networks.tsv") if row["state"] == "1" and row["band"] == "low"]
    strongest = max(edges, key=lambda row: float(row["value"]))
    assert strongest["kept"] == "1"
    assert float(strongest["value"]) == pytest.approx(0.9)
    assert len(summary["pictures"]) == 2 * 2
    for picture in summary["pictures"]:
        assert (out / picture["path"]).stat().st_size > 3000
        assert {"state", "kind", "band", "alt"} <= picture.keys()
    assert "Highest in Temporal Pole" in summary["pictures"][0]["alt"]
    assert "on the glass brain" in summary["pictures"][0]["alt"]


@pytest.mark.parametrize("on_brain", [True, False])
def test_networks_without_an_edge_are_told_and_not_drawn_as_empty_brains(tmp_path, on_brain):
    from dynml.analysis.maps.found import Found
    from dynml.analysis.maps.networks import kept_edges
    from dynml.cli.outputs.maps import draw, not_drawn
    from dynml.geometry.geometry import Geometry

    names, values = ("a", "b", "c", "d"), np.full((3, 4, 4), 0.1)
    values[0, 1, 2] = values[0, 2, 1] = 0.9
    values[2] = np.nan
    found = Found("network", "low", "coherence", "", values, values, names)
    positions = {"positions": np.array([[-40.0, 0, 0], [40, 0, 0], [0, 40, 0], [0, -40, 0]])}
    brain = Geometry(kind="parcels", channel_names=names, arrays=positions, values={"standard": True})
    geometry, kept = (brain if on_brain else None), [kept_edges(own, "90") for own in values]
    assert [edges.n_kept for edges in kept] == [1, 0, 0]
    pictures = draw(tmp_path, found, geometry, kept, component="state", relative=False)
    assert [picture.state for picture in pictures] == ([1] if on_brain else [1, 2])
    told = list(not_drawn(found, geometry, kept, "state"))
    assert told[0] == "There is no coherence of state 3."
    assert [("of state 2" in sentence, "--edges 95" in sentence) for sentence in told[1:]] == [(True, True)] * on_brain


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--spectra", "nowhere"], "not a folder of spectra"),
        (["--edges", "most"], "percentile"),
        (["--atlas", "gone.nii.gz"], "does not exist"),
        (["--spectra", "three_states"], "3 states, but the model has 2"),
        (["--spectra", "few_channels"], "5 channels"),
        (["--spectra", "good", "--bands", "x=0.1-60"], "beyond the frequencies"),
    ],
)
def test_mistakes_are_told_in_one_sentence_and_leave_nothing(trained, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    spectra(tmp_path / "three_states", n_states=3)
    spectra(tmp_path / "few_channels")
    if "few_channels" in options:
        np.savez(tmp_path / "few_channels/spectra.npz", frequencies=np.arange(3.0), power=np.ones((1, 2, 5, 3)))
    spectra(tmp_path / "good")
    from dynml.cli.commands.results.compute_maps import parse_maps, run_maps
    from dynml.errors import DynmlError

    arguments = [str(trained / "experiments/h"), str(trained / "haxby.hdf5"), str(tmp_path / "out"), *options]
    monkeypatch.setattr(sys, "argv", ["dynml_compute_maps.py", *arguments])
    with pytest.raises(DynmlError, match=words):
        run_maps(parse_maps("Maps."))
    assert not [path for path in (tmp_path / "out").glob("**/*") if path.is_file() and "lock" not in path.name]
