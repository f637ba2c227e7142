import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from dynml.geometry.geometry import Geometry
from dynml.plotting.brain.maps import plot_map, symmetric_limits, way_to_draw
from dynml.plotting.brain.networks import plot_network
from dynml.plotting.style import save_figure


def labels(standard=True):
    image = np.zeros((6, 10, 10), dtype=np.uint8)
    image[1, 2:5, 4:6], image[4, 2:5, 4:6], image[2:4, 7, 6] = 1, 2, 3
    affine = np.array([[-25.0, 0, 0, 62.5], [0, 25, 0, -112.5], [0, 0, 25, -112.5], [0, 0, 0, 1]])
    positions = np.array([[37.5, -37.5, 0.0], [-37.5, -37.5, 0.0], [0.0, 62.5, 37.5]])
    arrays = {"image": image, "affine": affine, "values": np.array([1, 2, 3]), "positions": positions}
    return Geometry(kind="labels", channel_names=("a", "b", "c"), arrays=arrays, values={"standard": standard})


def sensors(with_positions=True):
    mne = pytest.importorskip("mne")
    from dynml.readers.meg_eeg.geometry import geometry_of_sensors

    info = mne.create_info(["Fz", "C3", "C4", "Pz", "Oz"], 100.0, "eeg")
    if with_positions:
        info = info.set_montage(mne.channels.make_standard_montage("biosemi64"))
    raw = mne.io.RawArray(np.zeros((5, 10)), info, verbose="ERROR")
    return geometry_of_sensors(raw, range(5), "x.fif")


NETWORK = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 0.1], [-0.2, 0.1, 1.0]])


@pytest.mark.parametrize(
    ("geometry", "way"), [(labels(), "glass brain"), (labels(standard=False), "slices"), (None, "bars")]
)
def test_maps_are_drawn_where_channels_lie(tmp_path, geometry, way):
    assert way_to_draw(geometry) == way
    figure = plot_map([0.5, -1.0, 0.0], geometry, ["a", "b", "c"], limits=(-1, 1), label="Mean (SD)", title="State 1")
    assert isinstance(figure, Figure)
    words = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("State 1" in word for word in words)
    assert any("Mean (SD)" in word for word in words)
    assert save_figure(figure, tmp_path / "map.png").stat().st_size > 3000
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((-1.96, 1.96), ["−1", "0", "1"]),
        ((0.0, 1.96), ["0", "0.5", "1", "1.5"]),
        ((-0.0123, 0.0123), ["−0.01", "−0.005", "0", "0.005", "0.01"]),
        ((0.0, 2500.0), ["0", "500", "1000", "1500", "2000", "2500"]),
    ],
)
@pytest.mark.parametrize("standard", [True, False])
def test_ticks_of_colour_bars_are_round_numbers_at_their_place(limits, expected, standard):
    values = np.array([0.5, -1.0, 0.1]) * limits[1]
    figure = plot_map(values, labels(standard), ["a", "b", "c"], limits=limits, label="Mean (SD)", title="State 1")
    figure.canvas.draw()
    (bar,) = [axes for axes in figure.axes if hasattr(axes, "_colorbar")]
    said = [text.get_text() for text in bar.get_yticklabels()]
    assert said == expected
    np.testing.assert_allclose(bar.get_yticks(), [float(one.replace("−", "-")) for one in said])


def test_sensors_are_drawn_on_the_head(tmp_path):
    geometry = sensors()
    assert way_to_draw(geometry) == "head"
    values = np.array([3.0, 1.0, 1.0, 1.0, -3.0])
    figure = plot_map(values, geometry, geometry.channel_names, limits=(-3, 3), label="Power", title="State 1")
    field = next(image for axes in figure.axes for image in axes.get_images())
    # The front of the head is up: what is high at Fz is high in the upper half.
    shown = np.asarray(field.get_array())
    assert shown[shown.shape[0] * 3 // 4, shown.shape[1] // 2] > 1.5
    assert shown[shown.shape[0] // 8, shown.shape[1] // 2] < -1.5
    save_figure(figure, tmp_path / "head.png")
    assert pyplot.get_fignums() == []


def gradiometers(n_places=12):
    """Pairs of planar gradiometers around the head, two at each place."""
    mne = pytest.importorskip("mne")
    from mne.io.constants import FIFF

    from dynml.readers.meg_eeg.geometry import geometry_of_sensors

    info = mne.create_info([f"MEG {place:03}{side}" for place in range(n_places) for side in "23"], 100.0, "grad")
    for number, channel in enumerate(info["chs"]):
        angle, radius = 2 * np.pi * (number // 2) / n_places, (0.07, 0.04)[number // 2 % 2]
        with info._unlock():
            channel["loc"] = np.r_[radius * np.cos(angle), radius * np.sin(angle), 0.06, np.eye(3).ravel()]
            channel["coil_type"] = FIFF.FIFFV_COIL_VV_PLANAR_T1
    raw = mne.io.RawArray(np.zeros((2 * n_places, 10)), info, verbose="ERROR")
    return geometry_of_sensors(raw, range(2 * n_places), "x.fif")


def test_gradiometers_below_the_average_look_below_it():
    geometry = gradiometers()
    values = np.tile([-1.0, -2.0], 12)
    figure = plot_map(values, geometry, geometry.channel_names, limits=(-3, 3), label="Power", title="State 1")
    shown = np.asarray(next(image for axes in figure.axes for image in axes.get_images()).get_array())
    np.testing.assert_allclose(shown[np.isfinite(shown)], -1.5, atol=1e-6)
    assert "gradiometers (24 at 12 places)" in [axes.get_title() for axes in figure.axes]


def test_sensors_without_places_have_no_geometry():
    assert sensors(with_positions=False) is None


def test_networks_are_edges_between_centres_or_a_matrix(tmp_path):
    kept = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    for number, (geometry, edges) in enumerate([(labels(), kept), (labels(), kept & False), (None, kept)]):
        figure = plot_network(
            NETWORK, edges, geometry, ["a", "b", "c"], limits=(-0.5, 0.5), label="Coherence", title="State 2"
        )
        assert save_figure(figure, tmp_path / f"network-{number}.png").stat().st_size > 3000
    matrix = np.ma.filled(figure.axes[0].get_images()[0].get_array(), np.nan)
    assert np.isnan(np.diag(matrix)).all()
    assert np.isfinite(matrix[np.triu_indices(3, 1)]).all()
    assert np.isfinite(matrix[1, 0])
    assert np.isnan(matrix[2, :2]).all()
    assert pyplot.get_fignums() == []


def test_one_scale_is_symmetric_where_values_have_both_signs():
    assert symmetric_limits([[0.2, -0.6]], signed=True) == (-0.6, 0.6)
    assert symmetric_limits([[0.2, 0.6]], signed=False) == (0.0, 0.6)
    assert symmetric_limits([[np.nan]], signed=True) == (-1.0, 1.0)
