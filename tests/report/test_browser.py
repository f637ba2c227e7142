"""The page in headless Chromium: no error on the console, nothing fetched, every picture and the viewer drawn.

Chromium and playwright are no dependencies of dynml: `apt-get install chromium`, `pip install playwright`. The test is
skipped where one of them is missing.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from report_making import made_experiment, made_inference

from dynml.report.experiment import read_reported_experiment
from dynml.report.page import ReportInput, report_page
from dynml.report.results import find_results

PLACES = ("/usr/lib/chromium/chromium", *filter(None, map(shutil.which, ("chromium", "google-chrome"))))
CHROMIUM = next((place for place in PLACES if Path(place).exists()), None)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    reason = "the Python package playwright, which steers Chromium, is not installed"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    with playwright.sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    experiment = read_reported_experiment(made_experiment(folder / "run"))
    states = made_inference(folder / "states", experiment.path)
    alpha = np.load(states / "sub-4_alpha.npy")
    alpha[50:100] = np.nan
    np.save(states / "sub-4_alpha.npy", alpha)
    page = report_page(ReportInput(experiment=experiment, results=find_results(states, experiment)))
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


def opened(browser, path, width):
    page, told = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on(
        "request", lambda request: told.append(request.url) if not request.url.startswith(("data:", "file:")) else 0
    )
    page.goto(path.as_uri())
    return page, told


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_fails_and_everything_is_drawn(browser, path, width):
    page, told = opened(browser, path, width)
    assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 50)")
    assert page.evaluate("document.images.length") > 5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate(
        """() => { const one = document.getElementById("viewer-canvas");
        const middle = one.getContext("2d").getImageData(0, one.height / 2, one.width, 1).data;
        return [...new Set(Array.from({length: one.width}, (_, x) => middle.slice(4 * x, 4 * x + 3).join()))]; }"""
    )
    assert {"0,114,178", "230,159,0"} <= set(colours)  # both states in their colours, at the height of a half
    assert told == []


def test_time_courses_scroll_and_zoom_by_keyboard(browser, path):
    page, told = opened(browser, path, 1200)
    words = page.locator("#viewer-words")
    assert words.inner_text().startswith("sub-4, 0.00 s to 2.00 s")
    page.locator("#viewer-canvas").focus()
    page.keyboard.press("+")
    assert words.inner_text().startswith("sub-4, 0.50 s to 1.50 s")
    page.keyboard.press("ArrowRight")
    assert words.inner_text().startswith("sub-4, 0.75 s to 1.75 s")
    page.keyboard.press("Home")
    page.keyboard.press("+")
    assert words.inner_text().startswith("sub-4, 0.25 s to 0.75 s")
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    page.locator("#viewer-subject").select_option(label="sub-1 (training)")
    assert words.inner_text().startswith("sub-1, 0.00 s to 2.00 s")
    assert told == []
