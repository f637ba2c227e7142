"""Columns of tables of people: numbers or labels, names that are spelled otherwise, and what is no measure."""

import json
from pathlib import Path

import numpy as np
import pytest

from dynml.analysis.groups.design import design_of
from dynml.analysis.groups.measures import read_measures
from dynml.analysis.groups.numbers import finding_on_codes, findings_on_column, numbers_or_labels
from dynml.analysis.groups.participants import averaged, matched, read_participants
from dynml.analysis.groups.question import Asked, read_question
from dynml.analysis.prediction.cross_validation import PredictionSettings
from dynml.analysis.prediction.embeddings import mean_embeddings
from dynml.analysis.prediction.people import people_of
from dynml.analysis.prediction.sources import Gathered, gather_folder, gather_table
from dynml.errors import ConfigurationError, DataError
from dynml.tables import Table

AGES = ["43", "45", "57", "67", "21", "33"]


def written(path, columns):
    rows = [list(columns), *map(list, zip(*columns.values()))]
    path.write_text("\n".join("\t".join(map(str, row)) for row in rows) + "\n")
    return path


@pytest.fixture
def joined(tmp_path):
    """One table that has both what was measured and what is known of people."""
    names = [f"sub-{number:03d}" for number in range(1, 7)]
    values = np.random.default_rng(0).normal(size=6)
    return written(tmp_path / "joined.tsv", {"participant_id": names, "age": AGES, "occupancy": values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["43,5", "45,5", "57", "1.067,25", "n/a"], "a decimal comma"),
        (["43", "45", "unknown", "67"], "other texts .unknown"),
        (["43", "45", "inf", "67"], "must be finite"),
        (["1e-120", "2e-120"], "no number beyond 2e-120"),
        (["43", "45", "1.79e308", "67"], "has '1.79e308', but numbers must be finite and within 1e.100 of 0"),
    ],
)
def test_numbers_with_commas_or_words_among_them_are_no_labels(values, message):
    table = Table(Path("p.tsv"), {"age": values, "group": ["a", "b", "a", "b", "a"][: len(values)]})
    with pytest.raises(DataError, match=message):
        numbers_or_labels(values, "age", table.path)
    with pytest.raises(DataError, match="The column age of p.tsv"):
        design_of("group + age", table.rows([row for row, value in enumerate(values) if value != "n/a"]))


def test_labels_stay_labels_and_missing_numbers_are_none():
    assert numbers_or_labels(["1", "2", "a", "b", "c"], "site", Path("p.tsv")) is None
    np.testing.assert_equal(numbers_or_labels(["1", "n/a", "2e1"], "age", Path("p.tsv")), [1, np.nan, 20])
    sites = Table(Path("p.tsv"), {"site": ["1", "2", "2", "x", "1", "x"]})
    assert design_of("C(site)", sites).columns == ["Intercept", "C(site)[T.2]", "C(site)[T.x]"]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*AGES[:4], "-999", "-999"], "age is -999 in 2 rows and between 43 and 67 elsewhere: a code"),
        ([*AGES[:4], "999", "n/a"], "age is 999 in 1 row"),
        ([*AGES[2:], "99", "9"], None),  # people of 99 and 9 years
        (["1", "2", "3", "9"], "age is 9 in 1 row"),  # of a scale from 1 to 3
        (["0", "1", "0", "9"], None),  # too few others
        (["a", "b", "999", "c"], None),
    ],
)
def test_codes_for_missing_numbers_are_told(values, found):
    told = finding_on_codes(values, "age")
    assert (told is None) if found is None else told.startswith(found)


def test_labels_spelled_in_two_ways_or_of_one_row_are_told():
    labels = ["Patient", "patient", "control", "control ", "patient", "control", "other"]
    told = findings_on_column(labels, "group")
    assert told[0].startswith("group has labels that differ by case or spaces alone: Patient and patient, control and")
    assert told[1].startswith("group is Patient, control , other in one row alone")
    assert findings_on_column([f"f{number}" for number in range(7)], "family") == []
    assert findings_on_column(["1", "1", "2"], "age") == []


def test_sessions_are_exchanged_with_their_own_whatever_the_order_of_rows(tmp_path):
    names, sessions = np.repeat([f"sub-{n}" for n in range(8)], 2).tolist(), ["1", "2"] * 8
    values = np.random.default_rng(0).normal(size=16)
    people = written(tmp_path / "p.tsv", {"participant_id": names[::2], "group": list("aaaabbbb")})
    found = []
    for order in (range(16), [1, 0, *range(2, 16)], range(15, -1, -1)):
        columns = {"subject": names, "session": sessions, "x": values.tolist()}
        table = written(tmp_path / "t.tsv", {key: [column[row] for row in order] for key, column in columns.items()})
        asked = Asked(table=table, participants=people, formula="1", sessions="separate", whole="participant_id")
        question = read_question(asked)
        unit = question.exchangeability.units[0][0]
        rows = question.exchangeability.order[unit]
        found.append(
            [question.values[row, 0] == values[names.index(question.people[row]) + n] for n, row in enumerate(rows)]
        )
    assert np.all(found)


def test_codes_are_findings_of_comparison_and_prediction(joined):
    table = written(joined.with_name("p.tsv"), {"participant_id": range(1, 7), "age": [*AGES[:5], -999], "x": AGES})
    assert any(
        "age is -999" in one
        for one in read_question(
            Asked(table=joined, participants=table, formula="age", measures=["occupancy"])
        ).findings
    )
    gathered = Gathered()
    gather_table(gathered, joined, read_participants(table), ["occupancy"])
    people_of(gathered, "x", ["age"], [], PredictionSettings(n_folds=3, n_permutations=99))
    assert any("age is -999" in one for one in gathered.findings)


def test_a_confound_with_commas_is_refused_in_prediction(joined):
    table = written(joined.with_name("p.tsv"), {"participant_id": [f"{n}" for n in range(1, 7)], "sex": [0, 1] * 3})
    text = table.read_text().splitlines()
    table.write_text("\n".join(f"{line}\t{end}" for line, end in zip(text, ["age", *(f"{age},5" for age in AGES)])))
    gathered, settings = Gathered(), PredictionSettings(n_folds=3, n_permutations=99)
    gather_table(gathered, joined, read_participants(table), ["occupancy"])
    with pytest.raises(DataError, match=r"The column age of .*p.tsv has numbers with a decimal comma"):
        people_of(gathered, "sex", ["age"], [], settings)


def test_confounds_that_tell_nothing_or_everything_are_named(joined):
    columns = {"participant_id": range(1, 7), "x": AGES, "site": ["A"] * 6, "scanner": list("abcdef"), "one": [1] * 6}
    table = written(joined.with_name("p.tsv"), {**columns, "same": ["1", "1.0"] * 3})
    gathered, settings = Gathered(), PredictionSettings(n_folds=3, n_permutations=99)
    gather_table(gathered, joined, read_participants(table), ["occupancy"])
    people = people_of(gathered, "x", ["site", "one"], [], settings)
    assert (people.confounds.shape, people.confound_names) == ((6, 0), ())
    assert "site is the same for all 6 participants, so it is no confound." in gathered.findings
    with pytest.raises(DataError, match="scanner have 5 columns for 4 training people"):
        people_of(gathered, "x", ["scanner"], [], settings)
    with pytest.raises(DataError, match="target same is the same for all"):
        people_of(gathered, "same", [], [], settings)


def test_names_that_lost_their_zeros_are_those_of_their_subjects(joined):
    names = ["6", "5", "4", "3", "2", "1"]
    other = written(joined.with_name("p.tsv"), {"participant_id": names, "age": AGES[::-1]})
    found = matched(read_measures(joined, ["occupancy"]), read_participants(other))
    assert found.people == names[::-1]
    assert found.participants.table.columns["age"] == AGES
    assert any("6 is sub-006" in one for one in found.findings)


def test_sessions_of_a_table_of_files_find_their_person(tmp_path):
    people = written(tmp_path / "p.tsv", {"participant_id": ["p1", "p2"], "age": [43, 45]})
    names = ["p1_ses-a", "p1_ses-b", "p2_ses-a_run-1", "p2"]
    results = written(tmp_path / "r.tsv", {"subject": names, "occupancy": [0.1, 0.3, 0.5, 0.7]})
    found = averaged(matched(read_measures(results), read_participants(people)))
    assert found.people == ["p1", "p2"]
    np.testing.assert_allclose(found.measures.values, [[0.2], [0.6]])
    other = written(tmp_path / "p.tsv", {"participant_id": ["1_ses-a", "2"], "age": [43, 45]})
    assert matched(
        read_measures(written(results, {"subject": ["1_ses-a", "2"], "x": [1, 2]})), read_participants(other)
    )


@pytest.mark.parametrize("of_results", [True, False])
def test_one_person_under_two_names_is_refused_and_similar_names_are_named(joined, of_results):
    names = ["001", "sub-001", "sub-003", "sub-004", "4", "04"]
    twice = written(joined.with_name("p.tsv"), {"participant_id": names, "age": AGES, "occupancy": AGES})
    with pytest.raises(DataError, match=r"p\.tsv names one participant in two ways, 001 and sub-001; spell"):
        matched(read_measures(twice if of_results else joined), read_participants(joined if of_results else twice))
    names[:2] = ["sub-001", "sub-002"]
    similar = written(twice, {"participant_id": names, "age": AGES, "occupancy": AGES})
    tables = (similar, joined) if of_results else (joined, similar)
    found = matched(read_measures(tables[0]), read_participants(tables[1]))
    assert any("zeros or case alone count as different people: sub-004 and 4 and 04." in one for one in found.findings)


def test_what_is_asked_about_is_no_measure(joined):
    question = read_question(Asked(table=joined, participants=joined, formula="age"))
    assert [measure.name for measure in question.measures] == ["occupancy"]
    assert any("since they are what is asked about: age" in one for one in question.findings)
    with pytest.raises(ConfigurationError, match="without age"):
        read_question(Asked(table=joined, participants=joined, formula="age", measures=["age", "occupancy"]))


PEOPLE = [f"sub-{number}" for number in range(1, 7)]
NUMBERS = ["0.3", "0.1", "0.4", "0.15", "0.9", "0.2"]


@pytest.mark.parametrize("name", ["other", "label", "kind", "lag", "frequency", "state"])
def test_in_a_wide_table_a_measure_may_have_the_name_of_a_key(tmp_path, name):
    table = written(tmp_path / "t.tsv", {"subject": PEOPLE, name: NUMBERS, "power": AGES})
    found = read_measures(table)
    assert [measure.name for measure in found.measures] == [name, "power"]
    np.testing.assert_array_equal(found.values[:, 0], np.array(NUMBERS, dtype=float))
    assert read_measures(table, known=[name]).known == (name,)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"state": [1, 2] * 3, "lag": NUMBERS}, ["lag, state 1", "lag, state 2"]),
        ({"lag": NUMBERS, "region": ["a", "b"] * 3}, ["lag, region a", "lag, region b"]),
        ({"lag": [-1, 1] * 3, "power": NUMBERS}, ["power, lag -1", "power, lag 1"]),
        ({"from": [1, 2] * 3, "to": [2, 1] * 3, "p": NUMBERS}, ["p, from 1, to 2", "p, from 2, to 1"]),
        ({"channel": [1, 2] * 3, "parcel": ["a", "b"] * 3, "x": NUMBERS}, ["x, channel 1, parcel a"]),
    ],
)
def test_in_a_long_table_keys_are_what_tells_rows_apart_and_comes_again(tmp_path, columns, names):
    subjects = [person for person in PEOPLE[:3] for _ in range(2)]
    found = read_measures(written(tmp_path / "t.tsv", {"subject": subjects, **columns}))
    assert [measure.name for measure in found.measures][: len(names)] == names
    np.testing.assert_array_equal(found.values, np.array(NUMBERS, dtype=float).reshape(3, 2))


def test_texts_and_amounts_that_are_no_measures_are_told_and_one_row_each_needs_no_key(tmp_path):
    columns = {"participant_id": PEOPLE, "label": list("abcdef"), "duration": AGES, "power": NUMBERS}
    table = written(tmp_path / "t.tsv", columns)
    people = written(tmp_path / "p.tsv", {"participant_id": PEOPLE, "age": AGES})
    question = read_question(Asked(table=table, participants=people, formula="age"))
    assert [measure.name for measure in question.measures] == ["power"]
    assert any(one.endswith("not taken as measures: label, duration.") for one in question.findings)
    with pytest.raises(DataError, match="each is taken to be of one label, unless --keys names others"):
        read_question(Asked(table=table, participants=people, formula="age", keys=["label"]))


def test_the_target_is_no_feature(joined):
    gathered = Gathered()
    gather_table(gathered, joined, read_participants(joined), None, known=["age"])
    assert {own.shape for own in gathered.sets["table"].values()} == {(1,)}


@pytest.mark.parametrize("dual_estimation", [True, False])
def test_files_of_an_earlier_inference_are_not_learnt_from(joined, dual_estimation):
    folder, names = joined.parent, [f"sub-{number:03d}" for number in range(1, 7)]
    joined.rename(folder / "state_statistics.tsv")
    for name in names:
        np.save(folder / f"{name}_covariances.npy", np.eye(2)[None])
        np.save(folder / f"{name}_embeddings.npy", np.ones((3, 2)))
    summary = {"dual_estimation": dual_estimation, "subsets": {"training": names[:4], "validation": []}}
    (folder / "summary.json").write_text(json.dumps(summary))
    gathered = Gathered()
    gather_folder(gathered, folder, read_participants(folder / "state_statistics.tsv"))
    assert list(gathered.sets.get("covariances", {})) == (names[:4] if dual_estimation else [])
    assert list(mean_embeddings(folder)[0]) == names[:4]
