"""Pictures of attributions on the brain: one per class, and none where nobody knows where the channels lie."""

import numpy as np

from dynml.cli.outputs.attribution import described, draw_on_brain
from dynml.cli.outputs.features import opened_output
from dynml.geometry.geometry import Geometry
from dynml.models.sequence.features.attribution import AttributionMaps

NETWORKS = ["left", "right", "front"]


def attributions():
    maps = np.zeros((2, 3, 4))
    maps[0, 0], maps[1, 1, 2:] = 1.0, 0.5
    maps[0, 2, 3] = np.nan
    return AttributionMaps(
        method="integrated_gradients",
        group_names=("face", "house"),
        n_windows=np.array([3, 1]),
        times=np.arange(4),
        since_predicted=False,
        of_classes=True,
        maps=maps,
        importance=np.abs(np.nan_to_num(maps)).mean(axis=2),
        unit="logit",
        meaning="logit of the class",
        value_at_input=1.0,
        value_at_zero=0.0,
        unexplained=None,
    )


def test_each_class_has_a_picture_of_its_sums_over_time(tmp_path):
    arrays = {"positions": np.array([[-40.0, 0, 0], [40, 0, 0], [0, 40, 0]]), "rows": np.arange(3)}
    brain = Geometry(kind="parcels", channel_names=tuple(NETWORKS), arrays=arrays, values={"standard": True})
    found = attributions()
    with opened_output(tmp_path / "out", force=False) as output:
        assert draw_on_brain(found, NETWORKS, output, kind="trial", geometry=None) == []
        assert draw_on_brain(found, ["left", "other", "front"], output, kind="trial", geometry=brain) == []
        drawn = draw_on_brain(found, NETWORKS, output, kind="trial", geometry=brain)
    assert drawn == ["attribution_brain_1", "attribution_brain_2"]
    pictures = list(described(drawn, found, NETWORKS))
    assert all((tmp_path / "out" / one["path"]).stat().st_size > 5000 for one in pictures[2:])
    assert pictures[3]["alt"] == "Attributions of house on the brain: highest for right, left, front"
