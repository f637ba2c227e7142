"""The page's part on classes told apart at each sample of a trial."""

import pytest

from dynml.errors import DataError
from dynml.plotting.style import new_figure, save_figure
from dynml.report.page import _other_parts
from dynml.report.parts.decoded_over_time import over_time_part
from dynml.report.results import DECODING, ResultsFolder

OVER_TIME = {
    "n_participants": 8,
    "n_samples": 40,
    "samples_averaged": 2,
    "chance": 0.5,
    "highest_balanced_accuracy": 0.8581,
    "time_of_highest": 0.54,
    "test": "sign flips of participants, clusters",
    "clusters": [{"start": 0.3, "stop": 0.58, "p": 0.00390625}],
    "smallest_p": 0.00390625,
    "smallest_possible_p": 0.00390625,
}


def results(folder, **over_time):
    return ResultsFolder(folder, DECODING, {"over_time": {**OVER_TIME, **over_time}})


def test_the_highest_accuracy_and_each_stretch_are_told(tmp_path):
    part = over_time_part(results(tmp_path))
    assert ["highest balanced accuracy", "0.858 at 0.54 s (chance 0.500)"] in part.tables[0].rows
    assert ["a classifier", "of the mean of 2 samples"] in part.tables[0].rows
    assert part.tables[1].rows == [["0.3", "0.58", "0.00391"]]
    assert part.pictures == []


def test_without_a_stretch_there_is_no_table_of_them(tmp_path):
    assert len(over_time_part(results(tmp_path, clusters=[])).tables) == 1


def test_pictures_stand_in_a_part_of_their_own(tmp_path):
    save_figure(new_figure(2, 2), tmp_path / "decoding_over_time.png")
    given = type("Given", (), {"results": [results(tmp_path)]})()
    (part,) = _other_parts(given, None)
    assert part["title"] == "Decoding over time"
    (picture,) = part["pictures"]
    assert "highest 0.858 at 0.54 s" in picture.alt


def test_a_decoder_that_was_not_asked_has_no_such_part(tmp_path):
    assert not over_time_part(ResultsFolder(tmp_path, DECODING, {"accuracy": 0.5}))


def test_a_damaged_picture_is_refused(tmp_path):
    (tmp_path / "generalization_over_time.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"generalization_over_time\.png could not be read"):
        over_time_part(results(tmp_path))
