"""What dynml_visualize_data.py does."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.commands.store_commands import STORE_HELP
from dynml.cli.outputs.folders import check_made_by
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.cli.verbosity import shows_progress
from dynml.configuration import check_choice, check_positive, nearest_name
from dynml.errors import DataError, DynmlError
from dynml.tables import write_table

if TYPE_CHECKING:
    from dynml.analysis.covariance_distances import CovarianceShelf
    from dynml.plotting.data_pages import SubjectEntry
    from dynml.store.reading import Store

PAGE, TABLE, PICTURES = "index.html", "subjects.tsv", "pictures"
ALL = "all"
FORMATS = ("png", "svg")
N_NAMED = 10


def parse_visualization(description: str | None) -> Namespace:
    """Parse the command line of dynml_visualize_data.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("hdf5", metavar="HDF5", help=STORE_HELP)
    parser.add_argument("group", metavar="GROUP", help="Name of the group.")
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="Folder for the page and its pictures.")
    parser.add_argument("--subset", type=str, default=ALL, help="Subset to draw: training, validation, testing or all.")
    parser.add_argument("--subjects", nargs="+", type=str, metavar="SUBJECT", help="Subjects to draw; default: all.")
    parser.add_argument("--max_seconds", type=float, metavar="S", help="Use only the first S seconds of each subject.")
    parser.add_argument("--format", type=str, default="png", help="Format of the pictures: png or svg.")
    parser.add_argument("-f", "--force", action="store_true", help="Write into OUT_FOLDER even if it is not empty.")
    return parser.parse_args()


def run_visualization(arguments: Namespace) -> None:
    """Check, read one subject after the other, draw, compare, write the page."""
    from dynml.store.layout import SUBSET_NAMES

    check_choice("--format", arguments.format, FORMATS)
    check_choice("--subset", arguments.subset, (ALL, *SUBSET_NAMES))
    check_positive("--max_seconds", arguments.max_seconds, optional=True)
    folder = Path(arguments.out_folder)
    _check_folder(folder, force=arguments.force)

    from dynml.dataset.subsets import tell_of_spellings
    from dynml.store.reading import Store

    with Store(arguments.hdf5) as store:
        subjects, left_out = chosen_subjects(store, arguments.group, arguments.subset, arguments.subjects)
        _make_folder(folder)
        tell_of_spellings(store, [store.participant(subject) for subject, _ in subjects])
        entries = _measured_subjects(store, subjects, arguments, folder)
        _write_page(store, entries, left_out, arguments, folder)
    _tell(entries, folder)


def chosen_subjects(
    store: Store, group: str, subset: str, named: Sequence[str] | None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Subjects to look at, each with its subset, and the names of those that lack the group.

    Raises
    ------
    DataError
        For an unknown group or subject, an empty subset, or a named subject outside of the subset or without the group.
    """
    from dynml.store.layout import SUBSET_NAMES

    subset_of = {subject: name for name in SUBSET_NAMES for subject in store.subset(name)}
    known = {name for subject in store.subjects for name in store.groups(subject)}
    if group not in known:
        raise DataError(f"{store.path} has no group {group!r}{nearest_name(group, known)}.")
    subjects = [one for one in store.subjects if subset in (ALL, subset_of.get(one))]
    if not subjects:
        raise DataError(
            f"{store.path} has no {'' if subset == ALL else subset + ' '}subjects, so that there is nothing to draw."
        )
    if named is not None:
        for subject in named:
            store.attributes(subject, group)
            if subject not in subjects:
                found = subset_of.get(subject, "no")
                raise DataError(f"Subject {subject} is in the {found} subset of {store.path}, not in {subset}.")
        subjects = [one for one in subjects if one in set(named)]
    having = [one for one in subjects if group in store.groups(one)]
    if not having:
        raise DataError(f"No {subset} subject of {store.path} has the group {group!r}.")
    lacking = set(subjects) - set(having)
    return [(one, subset_of.get(one, "no")) for one in having], [one for one in subjects if one in lacking]


def _check_folder(folder: Path, *, force: bool) -> None:
    from dynml.plotting.data_pages import GENERATOR

    if folder.exists() and not folder.is_dir():
        raise DynmlError(f"{folder} is a file, but must be a folder, or a name for a new one.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise DynmlError(f"{folder} exists already and is not empty; use -f to write into it.")
    check_made_by(folder, PAGE, GENERATOR, (TABLE,))


def _make_folder(folder: Path) -> None:
    """Make the folders; what an earlier page has there goes, so that no picture of another store stays."""
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        if (folder / PAGE).exists():
            (folder / PAGE).unlink()
            for picture in (folder / PICTURES).iterdir():
                if re.fullmatch(r"(subject_\d+_.*|all_(spectra|numbers))\.(png|svg)", picture.name):
                    picture.unlink()
    except OSError as error:
        raise DynmlError(f"The folder {folder} could not be made ready: {error.strerror}.") from error


def _measured_subjects(
    store: Store, subjects: Sequence[tuple[str, str]], arguments: Namespace, folder: Path
) -> list[SubjectEntry]:
    from tqdm import tqdm

    from dynml.analysis.covariance_distances import CovarianceShelf, shape_of_covariance
    from dynml.analysis.data_measures import measure_subject
    from dynml.analysis.data_quality import summarize
    from dynml.cli.outputs.figures import write_figure
    from dynml.plotting.data_figures import plot_subject
    from dynml.plotting.data_pages import SubjectEntry

    group, entries = arguments.group, []
    shelves: dict[tuple[str, ...], CovarianceShelf] = {}
    try:
        hidden = None if shows_progress() else True
        for number, (subject, subset) in enumerate(tqdm(subjects, desc="Subjects", unit="subject", disable=hidden), 1):
            measures = measure_subject(store, subject, group, max_seconds=arguments.max_seconds)
            summary = summarize(measures, participant=store.participant(subject), subset=subset)
            if summary.channel_names not in shelves:
                shelves[summary.channel_names] = CovarianceShelf(len(summary.channel_names))
            shelves[summary.channel_names].append(shape_of_covariance(measures.covariance))
            picture = f"{PICTURES}/subject_{number:04d}_{file_name(subject)}.{arguments.format}"
            write_figure(plot_subject(measures), folder / picture)
            described = measures.description
            entries.append(
                SubjectEntry(
                    summary=summary,
                    flags=(),
                    picture=picture,
                    sources=described.sources,
                    preparation=described.preparation,
                )
            )
        return _compared(entries, shelves)
    finally:
        for shelf in shelves.values():
            shelf.close()


def _compared(
    entries: Sequence[SubjectEntry], shelves: Mapping[tuple[str, ...], CovarianceShelf]
) -> list[SubjectEntry]:
    """The same entries with distances, among subjects with the channels that most have, and flags."""
    from dynml.analysis.covariance_distances import distances_from_centre
    from dynml.analysis.data_quality import find_flags, usual_channels

    usual = usual_channels([entry.summary for entry in entries])
    distances = iter(distances_from_centre(shelves[usual]).tolist())
    summaries = [
        dataclasses.replace(
            entry.summary, distance=next(distances) if entry.summary.channel_names == usual else math.nan
        )
        for entry in entries
    ]
    return [
        dataclasses.replace(entry, summary=summary, flags=tuple(flags))
        for entry, summary, flags in zip(entries, summaries, find_flags(summaries))
    ]


def _write_page(
    store: Store, entries: Sequence[SubjectEntry], left_out: Sequence[str], arguments: Namespace, folder: Path
) -> None:
    from dynml.cli.outputs.figures import write_figure
    from dynml.files import ODD_BYTES, replacing
    from dynml.plotting.data_figures import plot_all_spectra, plot_measures
    from dynml.plotting.data_pages import StoreFacts, page_of_store
    from dynml.store import layout

    summaries, flags = [entry.summary for entry in entries], [entry.flags for entry in entries]
    numbers, spectra = (f"{PICTURES}/all_{name}.{arguments.format}" for name in ("numbers", "spectra"))
    write_figure(plot_measures(summaries, flags), folder / numbers)
    write_figure(plot_all_spectra(summaries, flags), folder / spectra)
    attributes = store.root_attributes()
    shown = (layout.FORMAT_VERSION_KEY, layout.DYNML_VERSION, layout.CREATED)
    facts = StoreFacts(
        path=str(store.path),
        group=arguments.group,
        subset=arguments.subset,
        root={name: attributes[name] for name in shown if name in attributes},
        max_seconds=arguments.max_seconds,
        pictures=((numbers, "The numbers of all subjects"), (spectra, "The spectra of all subjects")),
        left_out=tuple(left_out),
    )
    _write_table(entries, folder / TABLE)
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(page_of_store(facts, entries), encoding="utf-8", errors=ODD_BYTES)


def _write_table(entries: Sequence[SubjectEntry], path: Path) -> None:
    """Write the numbers of the page as a table, one row per subject, in the order of the page."""
    from dynml.plotting.data_pages import COLUMNS, far_first, numbers_of

    names = [name.replace(" ", "_") for name, _ in COLUMNS]
    rows = []
    for entry in far_first(entries):
        own = entry.summary
        reasons = "; ".join(flag.words for flag in entry.flags)
        rows.append([own.subject, own.participant, own.subset, *map(_cell, numbers_of(own)), reasons])
    write_table(path, ["subject", "participant", "subset", *names, "far_from_the_others_in"], rows)


def _cell(value: float) -> str:
    return "n/a" if math.isnan(value) else repr(value)


def _tell(entries: Sequence[SubjectEntry], folder: Path) -> None:
    from dynml.analysis.data_quality import FEWEST_SUBJECTS
    from dynml.plotting.data_pages import far_first

    far = [entry for entry in far_first(entries) if entry.flags]
    if len(entries) < FEWEST_SUBJECTS:
        print(f"With fewer than {FEWEST_SUBJECTS} subjects, outliers are not searched for.")
    else:
        print(f"{len(far)} of {len(entries)} subjects are outliers{':' if far else '.'}")
    for entry in far[:N_NAMED]:
        print(f"  {entry.summary.subject}: {'; '.join(flag.words for flag in entry.flags)}")
    if len(far) > N_NAMED:
        print(f"  and {len(far) - N_NAMED} more")
    print(folder / PAGE)


def file_name(subject: str) -> str:
    """A subject's name as the part of a file's name that any system can have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", subject)[:60]
