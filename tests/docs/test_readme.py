"""The README is short, its links work from a package page, and its figures are those of benchmarks/results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPARISONS = (ROOT / "docs" / "comparisons.md").read_text(encoding="utf-8")
HERE = re.compile(r"https://(?:raw\.)?github\w*\.com/[\w-]+/[\w-]+/(?:blob/|tree/)?main/(\S+?)[)\s]")

SITE = re.compile(r"https://dynml\.github\.io/dynml/(\S+?)\.html")


def results(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def measured():
    """Figures of the tables as they are written, from the files that hold them."""
    fit, one_pass = results("hmm_fit_hmm_k6_c80_avx2"), results("hmm_pass_cpu_avx2")
    wide = results("dynemo_fit_mixed_sine_k6_c20")["epochs"]["wide"]
    spectra = results("spectra")
    peer = fit["osl_dynamics"]
    means_learnt = [row["free_energy"] for row in fit["fits"] if row["learn_means"]]
    gibibytes = {name: wide[name]["peak_mebibytes"] / 1024 for name in ("dynml", "osl_dynamics")}
    return [
        f"{fit['median_total_s']:.1f} s",
        f"{max(means_learnt):.1f}",
        f"{peer['initialization_s'] + peer['fit_s']:.0f} s, {peer['free_energy']:.1f}",
        f"{one_pass['dynml']['first_pass']:.3f} s",
        f"hmmlearn {one_pass['hmmlearn']['first_pass']:.2f} s",
        f"{wide['dynml']['median_epoch_s']:.2f} s",
        f"{gibibytes['dynml']:.2f} GiB",
        f"{wide['osl_dynamics']['median_epoch_s']:.1f} s, {gibibytes['osl_dynamics']:.1f} GiB",
        f"{spectra['dynml']['seconds']:.1f} s",
        f"{spectra['dynml']['mebibytes']:.0f} MiB",
        f"{spectra['osl-dynamics 3.7.2']['mebibytes']:.0f} MiB",
    ]


def test_it_is_short():
    lines = README.splitlines()
    assert len(lines) < 150
    assert max(map(len, lines)) <= 100


def test_its_links_are_absolute_and_lead_to_files_that_there_are():
    targets = re.findall(r"\]\(([^)]+)\)|^\[\w+\]: (\S+)$", README, flags=re.MULTILINE)
    addresses = [one or other for one, other in targets]
    assert [address for address in addresses if not address.startswith("https://")] == []
    assert [path for path in HERE.findall(README) if not (ROOT / path).exists()] == []
    pages = SITE.findall(README)
    assert len(pages) > 20
    assert [page for page in pages if not (ROOT / "docs" / f"{page}.md").exists()] == []
    assert set(re.findall(r"\]\[(\w+)\]", README)) == set(re.findall(r"^\[(\w+)\]: ", README, flags=re.MULTILINE))


@pytest.mark.parametrize("page", [README, COMPARISONS], ids=["README", "comparisons"])
def test_its_figures_are_measured(page):
    plain = page.replace("**", "")
    assert [figure for figure in measured() if figure not in plain] == []


def test_its_picture_is_of_simulations_that_dynml_recovers():
    right = {
        name: [row["dice"] > 0.95 for row in results("truth_recovered")["fits"] if row["method"] == name]
        for name in ("dynml", "hmmlearn")
    }
    assert {name: (sum(recovered), len(recovered)) for name, recovered in right.items()} == {
        "dynml": (5, 5),
        "hmmlearn": (2, 5),
    }
    assert "Of five such simulations dynml recovered all states in five, hmmlearn," in README.replace("\n", " ")
