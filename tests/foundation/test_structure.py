"""Rooms stay small, folders can be looked over, and imports go round in no circle."""

import re
from pathlib import Path

import structure


def test_no_imports_go_round_in_a_circle_not_even_hidden_ones():
    assert structure.circle(structure.imports(structure.modules(), inside_functions=True)) == []


def test_a_circle_is_found():
    assert structure.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]


def test_no_room_is_above_a_quarter_and_no_folder_above_15_modules():
    modules = structure.modules()
    assert {room: share for room, share in structure.share_of_rooms(modules).items() if share > 0.25} == {}
    assert {folder: n for folder, n in structure.modules_in_folders(modules).items() if n > 15} == {}


def test_the_longest_chain_of_imports_has_at_most_14_modules():
    assert len(structure.longest_chain(structure.imports(structure.modules(), inside_functions=False))) <= 14


def test_no_room_asks_which_reader_or_source_of_another_room_it_has(tmp_path):
    assert structure.kinds_named_elsewhere(structure.modules()) == []
    there, here = tmp_path / "there.py", tmp_path / "here.py"
    there.write_text("class OneReader: ...\n")
    here.write_text("def f(x):\n    return isinstance(x, (OneReader, int))\n")
    assert structure.kinds_named_elsewhere({"p.a.there": there, "p.b.here": here}) == ["p.b.here: OneReader"]


def test_every_room_says_what_it_is_for():
    inits = [path for path in structure.modules().values() if path.name == "__init__.py"]
    assert [path for path in inits if len(path.read_text(encoding="utf-8").split('"""')[1]) < 30] == []


def test_earlier_names_are_found():
    from dynml.data.simulation import simulate_hmm
    from dynml.data.store_reading import Store
    from dynml.simulation import simulate_hmm as simulate
    from dynml.store.reading import Store as Reading

    assert (simulate_hmm, Store) == (simulate, Reading)


def test_scripts_that_the_code_and_the_guide_name_are_there():
    root = Path(__file__).parents[2]
    files = [*(root / "dynml").rglob("*.py"), *(root / "docs").glob("*.md"), root / "README.md"]
    named = {name for file in files for name in re.findall(r"dynml_[a-z0-9_]+\.py", file.read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert {name for name in named if not (root / "scripts_python" / name).is_file()} == set()
