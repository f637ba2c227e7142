import json

import numpy as np
import pytest

from dynml.conversion.creation import create_store
from dynml.errors import DataCorruptionError, DataError
from dynml.readers.ts_archive import TsReader
from dynml.store.reading import Store

HEADER = """#An archive, amplitude +/-1000 {mu}V
@problemName Fingers
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true left right
@data
"""


def ts_text(cases, header=HEADER):
    return header + "".join(
        ":".join(",".join(map(repr, row)) for row in rows.tolist()) + f":{label}\n" for rows, label in cases
    )


def write(folder, text, name="a_TRAIN.ts", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def three_cases(seed=0):
    generator = np.random.default_rng(seed)
    return [(generator.normal(size=(2, length)), label) for length, label in ((5, "left"), (7, "right"), (5, "left"))]


def described(path):
    return TsReader().describe(path)


def read(path):
    return TsReader().read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_each_case_is_a_segment_with_its_class(tmp_path, encoding):
    cases = three_cases()
    path = write(tmp_path, ts_text(cases).replace("{mu}", "\u00b5"), encoding=encoding)
    description = described(path)
    assert (description.n_samples, description.n_channels, description.sampling_frequency) == (17, 2, None)
    assert description.stretches.tolist() == [[0, 5], [5, 12], [12, 17]]
    assert description.events.onset.tolist() == [0, 5, 12]
    assert description.events.duration.tolist() == [5, 7, 5]
    assert description.events.labels == {"class": ["left", "right", "left"]}
    np.testing.assert_array_equal(read(path), np.concatenate([rows.T for rows, _ in cases]))


def test_the_names_of_the_header_may_be_written_in_any_case(tmp_path):
    header = (
        HEADER.replace("@classLabel", "@classlabel").replace("@dimensions", "@Dimension").replace("@data", "@DATA\n")
    )
    assert described(write(tmp_path, ts_text(three_cases(), header))).events.labels["class"] == [
        "left",
        "right",
        "left",
    ]


def test_one_channel_without_classes(tmp_path):
    header = "@problemName x\n@univariate true\n@classLabel false\n@data\n"
    path = write(tmp_path, header + "1,2,3\n4,5,6.5e-3\n")
    description = described(path)
    assert (description.n_samples, description.n_channels, description.events) == (6, 1, None)
    assert read(path)[:, 0].tolist() == [1, 2, 3, 4, 5, 0.0065]


def test_numbers_to_predict_are_left_out_with_a_remark(tmp_path):
    path = write(tmp_path, "@univariate true\n@targetLabel true\n@data\n1,2,3:0.7\n4,5,6:1.5\n")
    description = described(path)
    assert description.events is None
    assert description.warned == ("numbers to be predicted (@targetLabel) were left out",)
    assert read(path)[:, 0].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_stated_length_that_no_case_has_is_remarked_on(tmp_path):
    header = HEADER.replace("@equalLength false", "@equalLength true\n@seriesLength 4")
    path = write(tmp_path, header + "1,2,3:4,5,6:left\n1,2,3:4,5,6:left\n")
    assert described(path).warned == ("cases have 3 values, and not the 4 that @seriesLength says",)
    assert read(path).shape == (6, 2)


def test_missing_values_are_nan(tmp_path):
    path = write(tmp_path, HEADER + "1,?,3:4,5, ? :left\n")
    np.testing.assert_array_equal(read(path), [[1, 4], [np.nan, 5], [3, np.nan]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEADER + "1,2:3,4:left\n1,2:3,4:down\n", "Line 11 of .* ends in the class 'down', .* it names left, right"),
        (HEADER + "1,2:3,4:left\n1,2:left\n", "Line 11 of .* has 1 channels, but @dimensions says 2"),
        (HEADER.replace("@dimensions 2\n", "") + "1,2:3,4:left\n1,2:left\n", "Line 10 .* but the first case has 2"),
        (HEADER + "1,2:3,4,5:left\n", "Line 10 of .*: channel 1 has 3 values, but channel 0 2"),
        (HEADER + "1:3:left\n", "Line 10 of .* has a single value a channel"),
        (HEADER, "has no case below @data"),
        ("@problemName x\n", "has no line @data"),
        ("", "has no line @data"),
        ("const x = 1;\n", "Line 1 of .* stands before a line @data"),
        (HEADER.replace("@timeStamps false", "@timeStamps true"), "Line 3 of .* says that values have time stamps"),
        (HEADER.replace("@dimensions 2", "@dimensions two"), "Line 6 of .*: @dimensions is 'two', but must be a whole"),
        (
            HEADER.replace("@equalLength false", "@equalLength true\n@seriesLength 3")
            + "1,2,3:4,5,6:left\n1,2:4,5:left\n",
            r"Line 12 of .* has 2 values, but the first case 3 \(@equalLength\)",
        ),
    ],
)
def test_faulty_files_are_refused_with_their_line(tmp_path, text, sentence):
    with pytest.raises(DataError, match=sentence):
        described(write(tmp_path, text))


@pytest.mark.parametrize("value", ["x", "", "1_000", "1;5", "?!"])
def test_values_that_are_no_numbers_are_refused_with_their_line(tmp_path, value):
    path = write(tmp_path, HEADER + f"1,2:3,4:left\n1,{value}:3,4:left\n")
    with pytest.raises(DataError, match="Line 11 of .* holds '.*', which is not a number"):
        read(path)


def test_a_file_that_lost_its_end_is_refused(tmp_path):
    text = ts_text(three_cases())
    for n_lost in (2, 6, 40):
        with pytest.raises(DataError, match="Line 12 of"):
            described(write(tmp_path, text[:-n_lost]))
    with pytest.raises(DataCorruptionError, match="Line 12 of .* has no class after a colon"):
        described(write(tmp_path, "\n".join(text.splitlines()[:-1]) + "\n0.1,0.2\n"))


def test_a_store_of_cases(tmp_path):
    folder = tmp_path / "ready" / "sub-é"
    folder.mkdir(parents=True)
    cases = three_cases()
    cases[1][0][1, 2] = np.nan
    write(folder, ts_text(cases).replace("nan", "?"))
    config = {"type": "timeseries", "files": ["*.ts"], "standardization": "none", "missing": "segment"}
    lists = {"training": tmp_path / "training.txt"}
    lists["training"].write_text("sub-é\n", encoding="utf-8")

    def create():
        (tmp_path / "config.json").write_text(json.dumps({"eeg": config}))
        create_store(tmp_path / "ready", tmp_path / "store.hdf5", tmp_path / "config.json", lists)

    with pytest.raises(
        DataError, match=r"does not say its sampling frequency \(the format has no place for it\); give"
    ):
        create()
    assert not (tmp_path / "store.hdf5").exists()
    config["sampling_frequency"] = 256
    create()
    with Store(tmp_path / "store.hdf5") as store:
        assert store.segments("sub-é", "eeg").tolist() == [[0, 5], [5, 7], [8, 12], [12, 17]]
        assert store.run_names("sub-é", "eeg") == ["a_TRAIN"]
        events = store.events("sub-é", "eeg")
        assert (events.onset.tolist(), events.names) == ([0, 5, 12], {"class": ("left", "right")})
        expected = np.concatenate([rows.T for rows, _ in cases])
        np.testing.assert_array_equal(store.read("sub-é", "eeg"), expected.astype(np.float32))
