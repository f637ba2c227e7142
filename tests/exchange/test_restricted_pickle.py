import builtins
import collections
import datetime
import decimal
import os
import pickle
import subprocess

import numpy as np
import pytest

from dynml.errors import DataError
from dynml.exchange.restricted_pickle import load_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(4, 3) - 5.5,
        np.asfortranarray(np.arange(12.0).reshape(4, 3)),
        np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
        np.arange(20.0).reshape(4, 5)[::2, 1::2],
        np.arange(6, dtype=">i2"),
        np.array([[True, False]]),
        np.array(["rest", "wörd"]),
    ],
    ids=["float32", "fortran", "transposed", "strided", "big_endian", "bool", "text"],
)
def test_arrays_come_back_as_numpy_itself_reads_them(array, protocol):
    content = pickle.dumps(array, protocol)
    found, expected = load_plain_pickle(content, "it"), pickle.loads(content)
    np.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype.newbyteorder("="), expected.shape)


def test_an_array_of_no_size_is_read():
    assert load_plain_pickle(pickle.dumps(np.zeros((0, 7), np.float16)), "it").shape == (0, 7)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [3, -7, 2**70, 0.25, "rest", True, np.float32(0.5), np.float64(2.5), np.int64(-3), np.str_("go"), np.array(4)],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_numbers_and_texts_come_back_as_plain_ones(value, protocol):
    found = load_plain_pickle(pickle.dumps(value, protocol), "it")
    expected = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("protocol", [2, 4])
def test_both_names_of_numpys_core_are_read(protocol):
    array = np.arange(4, dtype=np.float32)
    content = pickle.dumps(array, protocol)
    other = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert other != content
    if protocol == 4:
        # The length of the name, and of the frame around it, stand before it.
        other = other.replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core")
        other = other[:3] + (int.from_bytes(other[3:11], "little") - 1).to_bytes(8, "little") + other[11:]
    np.testing.assert_array_equal(load_plain_pickle(other, "it"), array)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class CallsLater:
    """The same through a state that is set on a function."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return np.dtype, ("f4", False, True), Calls(self.function, "touch {file}")


def payloads(file):
    command = f"touch {file}"
    program = f"open({str(file)!r}, 'w').close()"
    calls = {
        "os.system": Calls(os.system, command),
        "posix": Calls(os.popen, command),
        "subprocess": Calls(subprocess.check_call, ["touch", str(file)]),
        "eval": Calls(eval, f"__import__('os').system({command!r})"),
        "exec": Calls(exec, program),
        "open": Calls(open, str(file), "w"),
        "getattr": Calls(getattr, Calls(builtins.__import__, "os"), "system"),
        "numpy.load": Calls(np.load, str(file)),
        "memmap": Calls(np.memmap, str(file), "f4", "w+", 0, (4,)),
        "fromfile": Calls(np.ndarray.tofile, np.ones(3), str(file)),
        "runstring": Calls(np.frombuffer, b"1234", "f4"),
    }
    inside_array = np.empty(2, dtype=object)
    inside_array[:] = [calls["os.system"], calls["exec"]]
    structured = np.zeros(2, dtype=[("a", "f4"), ("b", "O")])
    return calls | {
        "in_list": [1, calls["exec"]],
        "in_dict": {"bold": calls["exec"]},
        "in_tuple": (calls["os.system"], 1),
        "object_array": inside_array,
        "structured": structured,
        "state": CallsLater(os.system),
    }


KINDS = list(payloads("/dev/null"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_pickle_is_executed(kind, protocol, tmp_path):
    file = tmp_path / "made_by_a_pickle"
    with pytest.raises(DataError, match="refused and nothing of it executed|damaged"):
        load_plain_pickle(pickle.dumps(payloads(file)[kind], protocol), "it")
    assert list(tmp_path.iterdir()) == []


def test_the_payloads_do_harm_to_others(tmp_path):
    file = tmp_path / "made_by_a_pickle"
    pickle.loads(pickle.dumps(payloads(file)["exec"]))
    assert file.exists()


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"bytes", (), [1.0], {"a": 1}, {1}, 1j, collections.OrderedDict(), decimal.Decimal(1)),
        *(datetime.date(1, 1, 1), np.dtype("f4"), np.float32, np.datetime64("2020")),
        *(np.array([1j]), np.array([None]), np.array([b"a"])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_array_number_or_text_is_refused(value):
    with pytest.raises(DataError, match=r"^tar, member was refused and nothing of it executed: it (holds|asks for) .+"):
        load_plain_pickle(pickle.dumps(value), "tar, member")


HAND_MADE = {
    "attribute of an allowed module": b"cnumpy\nload\n.",
    "path through an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "state on a stand-in": b"cnumpy\nndarray\n(N}tb.",
    "array of a subclass": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
    "huge shape": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",
    "ndarray by itself": b"\x80\x02cnumpy\nndarray\nK\x04\x85R.",
    "new object": b"\x80\x02cnumpy\nndarray\nK\x04\x85\x81.",
    "codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"Pfile\n.",
    "far memo": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "empty": b"",
    "cut": pickle.dumps(np.ones(5))[:-9],
    "no pickle": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("content", HAND_MADE.values(), ids=HAND_MADE.keys())
def test_hand_made_pickles_are_refused(content):
    with pytest.raises(DataError):
        load_plain_pickle(content, "it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02c_codecs\nencode\nNbK\x01.", "changes a function"),
        (b"\x80\x02cnumpy\nndarray\nNbK\x01.", "changes a function"),
        (b"\x80\x02" + b"K\x01" * 500 + b".", "is longer than such a pickle can be"),
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "is longer than such a pickle can be"),
    ],
    ids=["state of codec", "state of array", "many instructions", "far memo"],
)
def test_a_pickle_that_ends_in_a_number_may_do_nothing_on_the_way(content, words):
    with pytest.raises(DataError, match=words):
        load_plain_pickle(content, "it")


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused():
    content = pickle.dumps(np.arange(4, dtype=np.float32), 4)
    assert content.count(b"K\x04\x85") == 1
    with pytest.raises(DataError, match="16 bytes for an array of another size"):
        load_plain_pickle(content.replace(b"K\x04\x85", b"K\x05\x85"), "it")


def test_a_refused_pickle_leaves_the_reader_as_it_was():
    before = load_plain_pickle(pickle.dumps(np.arange(3)), "it")
    for content in HAND_MADE.values():
        with pytest.raises(DataError):
            load_plain_pickle(content, "it")
    np.testing.assert_array_equal(load_plain_pickle(pickle.dumps(np.arange(3)), "it"), before)
