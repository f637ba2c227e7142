"""The page's part on classes told apart at each sample of a trial."""

from __future__ import annotations

from dynml.report.parts.sections import Part, Table, cut
from dynml.report.pictures import picture_of_file
from dynml.report.results import ResultsFolder
from dynml.report.words import counted

OVER_TIME = "over_time"
PICTURES = {
    "decoding_over_time.png": "Balanced accuracy at each sample of a trial; {peak}",
    "generalization_over_time.png": "Balanced accuracy of each sample's classifier (rows) at all samples (columns)",
}


def over_time_part(decoded: ResultsFolder) -> Part:
    """Highest accuracy, stretches above chance, course and generalization; nothing where these were not asked for.

    Raises
    ------
    DataError
        When a picture is damaged.
    """
    own = decoded.summary.get(OVER_TIME)
    if not isinstance(own, dict):
        return Part()
    peak = f"{own['highest_balanced_accuracy']:.3f} at {own['time_of_highest']:.3g} s (chance {own['chance']:.3f})"
    rows = [
        ["highest balanced accuracy", peak],
        ["participants", str(own["n_participants"])],
        ["test", str(own["test"])],
        ["smallest p", f"{own['smallest_p']:.3g} (it cannot be below {own['smallest_possible_p']:.3g})"],
    ]
    if own["samples_averaged"] > 1:
        rows.append(["a classifier", f"of the mean of {counted(own['samples_averaged'], 'sample')}"])
    tables = [Table("Classifiers of single samples of a trial", ["", "value"], rows)]
    stretches = [[f"{one['start']:.3g}", f"{one['stop']:.3g}", f"{one['p']:.3g}"] for one in own["clusters"]]
    if stretches:
        note = "A stretch says that there is something to tell, not when it begins."
        tables.append(cut(Table("Stretches above chance", ["from (s)", "to (s)", "p"], stretches, note=note)))
    files = {decoded.path / name: alt.format(peak=f"highest {peak}") for name, alt in PICTURES.items()}
    return Part(tables, [picture_of_file(path, alt) for path, alt in files.items() if path.is_file()])
