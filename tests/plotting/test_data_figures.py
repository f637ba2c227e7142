"""Pictures of recordings hold what was measured; the page of a store names everything, escaped, without a network."""

from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dynml.analysis.data_measures import Envelope, Spectrum, SubjectMeasures
from dynml.analysis.data_quality import Flag, SubjectSummary
from dynml.plotting.data_figures import (
    draw_events,
    draw_runs,
    draw_signals,
    draw_spectra,
    evenly,
    gaps_of,
    plot_all_spectra,
    plot_measures,
    plot_subject,
    spread_heights,
)
from dynml.plotting.data_pages import StoreFacts, SubjectEntry, page_of_store
from dynml.plotting.style import new_figure
from dynml.recording import Events, GroupDescription, Source

RATE = 10.0
SOURCE = Source(file="a <run>.npy", n_bytes=7, sha256="f" * 64)


def events(columns):
    n_events = len(next(iter(columns.values()))) if columns else 3
    names = {column: tuple(sorted(set(labels))) for column, labels in columns.items()}
    codes = {column: np.array([names[column].index(label) for label in labels]) for column, labels in columns.items()}
    onsets = np.arange(n_events) * 20
    return Events(onset=onsets, duration=np.full(n_events, 5), labels=codes, names=names)


def measures(n_rows=100, n_bins=100, n_channels=3, **values):
    generator = np.random.default_rng(0)
    lowest = generator.normal(size=(n_bins, n_channels)).astype(np.float32)
    given = {
        "subject": "sub-$1 & <co>",
        "description": GroupDescription(
            n_samples=n_rows, n_channels=n_channels, sampling_frequency=RATE, units="arbitrary", rank=n_channels,
            channel_names=tuple(f"channel_${number}" for number in range(n_channels)), sha256="0" * 64,
            sources=(SOURCE,), preparation=({"step": "filter", "low_frequency": 1},), source_step=2.0,
        ),
        "n_rows": n_rows,
        "segments": np.array([[0, 40], [50, 60], [60, 90]]),
        "segment_runs": np.array([0, 0, 1]),
        "source_samples": np.array([[0, 0], [100, 0], [8, 1]]),
        "run_names": ("run-1", "run-2"),
        "run_starts": np.array([0, 60]),
        "events": None,
        "amplitudes": np.ones(n_channels),
        "kurtosis": np.full(n_channels, 3.0),
        "covariance": np.eye(n_channels),
        "spectrum": Spectrum(frequencies=np.arange(100.0), power=np.ones((100, n_channels)), n_windows=4),
        "envelope": Envelope(edges=np.linspace(0, n_rows, n_bins + 1).astype(int), lowest=lowest, highest=lowest + 1),
    }  # fmt: skip
    given |= values
    return SubjectMeasures(**{"segment_starts": given["segments"][:, 0], **given})


@pytest.fixture
def axes():
    return new_figure(6, 3).add_subplot()


def extents(collection):
    """Left and right ends of the bars of a collection."""
    return [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in collection.get_paths()]


def texts(figure):
    return [text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))]


def test_gaps_are_what_segments_leave_out():
    assert gaps_of(np.array([[0, 40], [50, 60], [60, 90]]), 100) == [(40, 50), (90, 100)]
    assert gaps_of(np.array([[5, 100]]), 100) == [(0, 5)]


def test_short_recordings_are_lines_of_their_values(axes):
    made = measures()
    draw_signals(axes, made)
    lines = [line for line in axes.lines if len(line.get_xdata()) == 100]
    assert len(lines) == 3
    np.testing.assert_allclose(lines[0].get_xdata(), np.arange(100) / RATE)
    slopes = np.polyfit(made.envelope.lowest[:, 1], lines[1].get_ydata(), 1)
    np.testing.assert_allclose(lines[1].get_ydata(), np.polyval(slopes, made.envelope.lowest[:, 1]), atol=1e-5)
    assert slopes[0] > 0


def test_long_recordings_are_envelopes_from_lowest_to_highest(axes):
    made = measures(n_rows=1000, n_bins=100, segments=np.array([[0, 600], [600, 1000]]), segment_runs=np.array([0, 1]))
    made.envelope.highest[50, 0] = 40.0
    draw_signals(axes, made)
    heights = [collection.get_paths()[0].vertices[:, 1] for collection in axes.collections]
    assert len(heights) == 3
    low, high = made.envelope.lowest[:, 0], made.envelope.highest[:, 0]
    scale = (heights[0].max() - heights[0].min()) / (high.max() - low.min())
    others = (heights[1].max() - heights[1].min()) / (
        made.envelope.highest[:, 1].max() - made.envelope.lowest[:, 1].min()
    )
    assert scale == pytest.approx(others, rel=1e-5)


def test_gaps_are_shaded_and_runs_bordered(axes):
    draw_signals(axes, measures())
    spans = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches)
    np.testing.assert_allclose(spans, [(4.0, 5.0), (9.0, 10.0)])
    borders = [line.get_xdata()[0] for line in axes.lines if line.get_color() == "#333333"]
    assert borders == [0.0, 6.0]


def test_events_are_bars_with_a_legend_and_many_labels_one_colour(axes):
    draw_events(axes, measures(events=events({"trial": ["a", "b", "a", "$c"]})), ["trial"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [r"\$c", "a", "b"]
    bars = sorted(bar for collection in axes.collections for bar in extents(collection))
    np.testing.assert_allclose(bars, [(0.0, 0.5), (2.0, 2.5), (4.0, 4.5), (6.0, 6.5)])
    many = measures(n_rows=1000, events=events({"time": [f"{number}" for number in range(30)]}))
    other = new_figure(6, 3).add_subplot()
    draw_events(other, many, ["time"])
    assert [text.get_text() for text in other.get_legend().get_texts()] == ["time: 30 labels"]
    assert len(extents(other.collections[0])) == 30


def test_segments_lie_over_the_original_samples_of_their_run(axes):
    draw_runs(axes, measures())
    green = [extents(collection) for collection in axes.collections][1::2]
    assert green == [[(0.0, 80.0), (100.0, 120.0)], [(8.0, 68.0)]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["run-1", "run-2"]


def test_a_mains_line_is_marked_where_it_is_and_nowhere_else(axes):
    power = np.ones((100, 3))
    power[50, 1] = 9
    draw_spectra(axes, measures(spectrum=Spectrum(frequencies=np.arange(100.0), power=power, n_windows=4)))
    vertical = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert vertical == [50.0]
    mean = axes.lines[3]
    np.testing.assert_allclose(mean.get_ydata(), power[1:-1].mean(axis=1))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"events": events({"trial": ["a", "b", "a"]})},
        {"events": events({})},
        {"n_channels": 300},
        {"n_channels": 1},
        {"covariance": np.zeros((3, 3))},
        {"spectrum": Spectrum(frequencies=np.zeros(1), power=np.zeros((1, 3)), n_windows=1)},
        {"spectrum": Spectrum(frequencies=np.arange(2.0), power=np.zeros((2, 3)), n_windows=1)},
    ],
    ids=["plain", "events", "no labels", "many channels", "one channel", "constant", "one frequency", "no power"],
)
def test_a_picture_of_any_subject_is_drawn(values):
    figure = plot_subject(measures(**values))
    FigureCanvasAgg(figure).draw()
    assert any(r"sub-\$1 & <co>" in text for text in texts(figure))


def summary(subject, **values):
    given = {
        "participant": "p", "subset": "training", "channel_names": ("a", "b"), "rank": 2, "sampling_frequency": 10.0,
        "seconds": 100.0, "n_segments": 1, "n_runs": 1, "missing": 0.0, "segment_seconds": 100.0,
        "amplitudes": np.ones(2), "slope": -1.0, "mains": np.nan, "mains_frequency": 50.0, "mains_channel": "a",
        "kurtosis": 3.0, "kurtosis_channel": "a", "frequencies": np.arange(5.0), "power": np.ones(5), "distance": 1.0,
    }  # fmt: skip
    return SubjectSummary(subject=subject, **{**given, **values})


def many_summaries():
    summaries = [summary(f"sub-{number}", distance=1 + 0.1 * number, power=np.full(5, 2.0)) for number in range(6)]
    summaries.append(summary("odd $", distance=9.0, amplitudes=np.full(2, 7.0), power=np.full(5, 40.0)))
    flags = [()] * 6 + [(Flag(measure="distance", words="far"), Flag(measure="amplitude", words="loud"))]
    return summaries, flags


def test_numbers_that_differ_are_drawn_and_far_subjects_named():
    figure = plot_measures(*many_summaries())
    FigureCanvasAgg(figure).draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Amplitude (before standardization)", "Distance of the covariance"]
    distances = figure.axes[1]
    points = np.concatenate([line.get_xdata() for line in distances.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(sorted(points), [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 9.0])
    assert [text.get_text() for text in distances.texts] == [r"odd \$"]
    FigureCanvasAgg(plot_measures([summary("alone")], [()])).draw()


def test_spectra_of_all_subjects_are_drawn_and_far_ones_coloured_and_named():
    figure = plot_all_spectra(*many_summaries())
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    assert len(axes.lines) == 7
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [r"odd \$"]
    coloured = [line for line in axes.lines if line.get_linewidth() > 1]
    np.testing.assert_allclose([line.get_ydata().mean() for line in coloured], [40.0])


def test_evenly_keeps_both_ends_and_heights_stay_within_the_row():
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(100, 3) == [0, 50, 99]
    assert np.abs(spread_heights(50)).max() <= 0.3
    assert len(np.unique(spread_heights(50))) == 50


class Page(HTMLParser):
    """What a browser would make of the page: tags, rows, text, and whether all tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.rows, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "tr" in self.open:
            self.rows[-1][-1] += data

    def values(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]


def made_page(n_subjects=6, **facts):
    names = ["sub-1", "a & b", "<script>alert(1)</script>", 'quo"te', "sub-$5", "é ü"][:n_subjects]
    entries = [
        SubjectEntry(
            summary=summary(name, missing=0.25 if name == "a & b" else 0.0, mains=np.nan if name == "sub-1" else 7.0),
            flags=(Flag(measure="amplitude", words="5 < 6 & more"),) if name == 'quo"te' else (),
            picture=f"pictures/subject 100% {number}#.png",
            sources=(SOURCE,),
            preparation=({"step": "other"},) if name == "é ü" else ({"step": "filter", "low_frequency": 1},),
        )
        for number, name in enumerate(names)
    ]
    given = {
        "path": "x<y>.hdf5", "group": "signals", "subset": "all", "root": {"created": "2026"}, "max_seconds": None,
        "pictures": (("pictures/all.png", "all"),),
    }  # fmt: skip
    return page_of_store(StoreFacts(**{**given, **facts}), entries), entries


def test_the_page_is_whole_names_every_subject_escaped_and_needs_nothing_from_outside():
    text, entries = made_page()
    page = Page(text)
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("script") == 0
    assert not page.values("link", "href")
    for entry in entries:
        assert any(row[0] == entry.summary.subject for row in page.rows)
    assert "Recordings of x<y>.hdf5, group signals" in page.text
    pictures = [unquote(path) for path in page.values("img", "src")]
    assert sorted(pictures) == sorted(["pictures/all.png", *(entry.picture for entry in entries)])
    links = page.values("a", "href")
    assert {unquote(link) for link in links if not link.startswith("#")} == set(pictures)
    assert all(link[1:] in page.values("section", "id") for link in links if link.startswith("#"))


def test_on_a_phone_each_number_stands_beside_its_name():
    text, _ = made_page()
    page = Page(text)
    assert "width=device-width" in page.values("meta", "content")[-1] or any(
        "width=device-width" in content for content in page.values("meta", "content")
    )
    assert "@media screen and (max-width: 700px)" in text
    header = page.rows[0]
    assert page.values("td", "data-name")[: len(header)] == header


def test_far_subjects_stand_first_with_their_reasons_and_unknown_numbers_as_dashes():
    page = Page(made_page()[0])
    first = page.rows[1]
    assert first[0] == 'quo"te'
    assert first[2] == "5 < 6 & more"
    header = page.rows[0]
    sub_1 = next(row for row in page.rows if row[0] == "sub-1")
    assert sub_1[header.index("mains line")] == "–"
    assert first[header.index("mains line")] == "7.00"
    assert next(row for row in page.rows if row[0] == "a & b")[header.index("missing")] == "25.0%"
    assert [row[0] for row in page.rows[2:5]] == ["sub-1", "a & b", "<script>alert(1)</script>"]


def test_the_page_tells_of_preparation_sources_and_missing_data():
    text = " ".join(Page(made_page(max_seconds=30.0, left_out=("sub-9",))[0]).text)
    assert "samples outside of segments or masked in 1 of 6 subjects; the most is 25.0%" in text
    assert '{"step": "filter", "low_frequency": 1}' in text
    assert "1 of 6 subjects went through other steps" in text
    assert '{"step": "other"}' in text
    assert "a <run>.npy" in text
    assert "Only the first 30 s" in text
    assert "left out: sub-9" in text
    assert "Outliers: 1 of 6 subjects." in text
    assert "outliers are not searched for" in " ".join(Page(made_page(n_subjects=2)[0]).text)
