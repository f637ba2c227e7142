"""What dynml_report.py does: an experiment and its results become one page."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.model_options import add_comparison_options
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import DynmlError

if TYPE_CHECKING:
    from dynml.report.experiment import ReportedExperiment
    from dynml.report.results import ResultsFolder

ENDINGS = (".html", ".htm")
N_BYTES_OF_HEAD = 4096


def parse_report(description: str | None) -> Namespace:
    """Parse the command line of dynml_report.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiment_path", metavar="EXPERIMENT_PATH", help="EXPERIMENTS_PATH/EXPERIMENT_NAME")
    parser.add_argument("out_html", metavar="OUT_HTML", help="HTML page to write")
    parser.add_argument("--hdf5", type=str, metavar="F", help="store, for events, excluded data and inference")
    parser.add_argument(
        "--results",
        type=str,
        metavar="FOLDER",
        help="results of this experiment: an output folder of another script, or a folder with several of them",
    )
    add_comparison_options(parser)
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, ..., for inference")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an existing report")
    return parser.parse_args()


def run_report(arguments: Namespace) -> None:
    """Check, read, infer what is missing, write the page, and say what it says."""
    out = Path(arguments.out_html)
    check_page(out, force=arguments.force)

    from dynml.files import ODD_BYTES, made_folder, replacing
    from dynml.report.experiment import read_reported_experiment
    from dynml.report.page import ReportInput, report_page

    with contextlib.ExitStack() as stack:
        warned = stack.enter_context(_warnings_noted())
        experiment = read_reported_experiment(arguments.experiment_path)
        results = _results(arguments, experiment, stack)
        page = report_page(
            ReportInput(
                experiment=experiment,
                results=results,
                hdf5=None if arguments.hdf5 is None else Path(arguments.hdf5),
                warnings=list(dict.fromkeys(warned)),
                commands=[shlex.join(["dynml_report.py", *sys.argv[1:]])],
            )
        )
    made_folder(out.parent)
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8", errors=ODD_BYTES)
    print(f"{out}: {len(page) / 2**20:.1f} MB; open it in a browser.")


def check_page(path: Path, *, force: bool) -> None:
    """Refuse a path that is no page of this script.

    Raises
    ------
    DynmlError
        Says what is in the way.
    """
    from dynml.report.page import GENERATOR

    if path.suffix.lower() not in ENDINGS:
        raise DynmlError(f"OUT_HTML is {path}, but must end in .html.")
    if path.is_dir():
        raise DynmlError(f"{path} is a folder, not a page to write to.")
    if not path.exists():
        return
    if not force:
        raise DynmlError(f"{path} exists already; use -f to replace it.")
    with path.open("rb") as stream:
        if GENERATOR.encode() not in stream.read(N_BYTES_OF_HEAD):
            raise DynmlError(f"{path} was not made by this script, so that -f does not replace it; move it.")


@contextlib.contextmanager
def _warnings_noted() -> Iterator[list[str]]:
    """Note the warnings of the block, which are shown as ever."""
    warned: list[str] = []
    shown = warnings.showwarning

    def note(message: Warning | str, *where: Any, **further: Any) -> None:
        warned.append(str(message))
        shown(message, *where, **further)

    warnings.showwarning = note
    try:
        yield warned
    finally:
        warnings.showwarning = shown


def _results(arguments: Namespace, experiment: ReportedExperiment, stack: contextlib.ExitStack) -> list[ResultsFolder]:
    """Those that are given, and what a store allows to infer beside them."""
    from dynml.report.results import DECODING, INFERENCE, METRICS, PREDICTIONS, SUMMARY, find_results, of_kind

    results = [] if arguments.results is None else find_results(arguments.results, experiment)
    if arguments.hdf5 is None:
        return results
    wanted = {"components": INFERENCE, "decoding": DECODING, "sequence": PREDICTIONS}.get(experiment.kind)
    if wanted is None or of_kind(results, wanted) is not None or experiment.fault_of_model is not None:
        _check_store(arguments, experiment)
        return results
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dynml_report_"))) / "inferred"
    _infer(arguments, folder)
    if not any((folder / name).is_file() for name in (SUMMARY, METRICS)):
        return results  # A family of another package wrote files of its own, which no page can show.
    inferred = [replace(one, is_kept=False) for one in find_results(folder, experiment)]
    return [*inferred, *results]


def _check_store(arguments: Namespace, experiment: ReportedExperiment) -> None:
    """Refuse a store whose events and gaps are not those of data like the training's; inference does so itself."""
    from dynml.dataset.conditioning.conditioned_source import Conditioning
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.dataset.preparation_comparison import check_same_preparation

    conditioning = Conditioning.of_described(experiment.dataset.get("conditioning"))
    data = MultiSubjectDataset(arguments.hdf5, group=experiment.dataset.get("group"), conditioning=conditioning)
    allowed = arguments.other_preparation
    check_same_preparation(experiment.dataset, data, str(experiment.path), other_preparation=allowed)


def _infer(arguments: Namespace, folder: Path) -> None:
    """Do what dynml_infer_from_model.py does; what it prints stands on the page."""
    from dynml.cli.commands.results.infer import parse_inference, run_inference

    options = ("other_preparation", "subsets_of", "device")
    words = [arguments.experiment_path, arguments.hdf5, str(folder)]
    words += [f"--{name}={getattr(arguments, name)}" for name in options]
    with contextlib.redirect_stdout(io.StringIO()):
        run_inference(parse_inference(None, words))
