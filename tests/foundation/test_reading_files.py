"""Files that others wrote: what is no file, text in whatever encoding, and JSON that cannot be used."""

import os

import pytest

from dynml.errors import CheckpointError, DataError, DataWarning, DynmlError
from dynml.files import as_dynml_wrote, read_json
from dynml.reading_files import encodings_passed_to, read_text, stated_encoding
from dynml.training.checkpoints.committed import fault_of_committed

TEXT = "Augen zu, müde, 5 \u20ac\n"


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_without_a_word(tmp_path, encoding, recwarn):
    assert read_text(written(tmp_path / "a.txt", TEXT.encode(encoding))) == TEXT
    assert not recwarn


@pytest.mark.parametrize(("encoding", "told"), [("utf-16", "utf-16"), ("utf-32", "utf-32"), ("cp1252", "cp1252")])
def test_other_encodings_are_read_and_told_with_the_file(tmp_path, encoding, told):
    path = written(tmp_path / "a.txt", TEXT.encode(encoding))
    with pytest.warns(DataWarning, match=rf"a\.txt is not UTF-8 and was read as {told}"):
        assert read_text(path) == TEXT


def test_whoever_listens_is_told_instead(tmp_path, recwarn):
    path, told = written(tmp_path / "a.txt", "müde".encode("latin-1")), []
    with encodings_passed_to(lambda file, encoding: told.append((file, encoding))):
        assert read_text(path) == "müde"
    assert told == [(path, "cp1252")]
    assert not recwarn


def test_the_encoding_that_is_stated_counts(tmp_path, recwarn):
    path = written(tmp_path / "a.txt", "усталый".encode("koi8-r"))
    with stated_encoding("koi8-r"):
        assert read_text(path) == "усталый"
    with (
        stated_encoding("ascii"),
        pytest.raises(DataError, match=r"a\.txt is not text in ascii, as the key 'encoding'"),
    ):
        read_text(path)
    assert not recwarn


@pytest.mark.parametrize(
    "content", [bytes(range(256)), b"\xff\x81\x8d", b"a\0b", "a".encode("utf-16-le"), b"\x89HDF\r\n\x1a\n\0"]
)
def test_what_is_no_text_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.txt is not text in"):
        read_text(written(tmp_path / "a.txt", content))


def test_what_is_no_file_is_refused_and_never_waited_on(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    for name, words in (
        ("pipe", "is a named pipe"),
        (".", "is a folder"),
        ("broken", r"does not exist \(it is a link"),
    ):
        with pytest.raises(DataError, match=words):
            read_text(tmp_path / name)
    with pytest.raises(DataError, match="is a device"):
        read_text(type(tmp_path)("/dev/zero"))


def test_the_pipe_of_a_shell_is_a_file():
    reading, writing = os.pipe()
    os.write(writing, b"sub-01\n")
    os.close(writing)
    from pathlib import Path

    try:
        assert read_text(Path(f"/dev/fd/{reading}")) == "sub-01\n"
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' is repeated"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has 5000 digits"),
        (b"", "line 1, column 1"),
        (b'{"a": \x81}', "is not text in UTF-8"),
    ],
)
def test_json_that_cannot_be_used_is_named(tmp_path, content, words):
    with pytest.raises(DynmlError, match=rf"a\.json.*{words}"):
        read_json(written(tmp_path / "a.json", content))


def test_json_may_be_of_windows(tmp_path):
    assert read_json(written(tmp_path / "a.json", b'\xef\xbb\xbf{"a": 1}')) == {"a": 1}
    with pytest.warns(DataWarning, match="cp1252"):
        assert read_json(written(tmp_path / "a.json", '{"a": "ü"}'.encode("latin-1"))) == {"a": "ü"}


@pytest.mark.parametrize(
    "manifest",
    ["[]", "{}", '{"files": []}', '{"files": {"a": 1}}', '{"files": {"a": {"bytes": 1}}}', '{"files": null}', "3"],
)
def test_manifests_of_odd_keys_and_types_are_faults(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    assert fault_of_committed(tmp_path) == "its manifest.json is missing or unreadable"


def test_a_manifest_leads_nowhere_else(tmp_path):
    (tmp_path / "manifest.json").write_text('{"files": {"../a": {"bytes": 1, "sha256": "b"}}}')
    assert "names '../a', which is not a file within it" in str(fault_of_committed(tmp_path))
    (tmp_path / "manifest.json").write_text(f'{{"files": {{"{"a" * 5000}": {{"bytes": 1, "sha256": "b"}}}}}}')
    assert fault_of_committed(tmp_path) == f"{'a' * 100} is missing"


@pytest.mark.parametrize("content", [{}, [], {"a": None}, {"a": {"b": "x"}}])
def test_odd_content_of_our_own_files_is_told(tmp_path, content):
    with pytest.raises(CheckpointError, match=r"a\.json is not as dynml wrote it"), as_dynml_wrote(tmp_path / "a.json"):
        int(content["a"]["b"])
