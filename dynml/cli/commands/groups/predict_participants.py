"""What dynml_predict_participants.py does: what is known of people, predicted from their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.outputs.folders import check_output_folder, output_folder
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import ConfigurationError

if TYPE_CHECKING:
    from dynml.analysis.groups.participants import Participants
    from dynml.analysis.prediction.sources import Gathered


def parse_prediction(description: str | None) -> Namespace:
    """Parse the command line of dynml_predict_participants.py."""
    parser = ScriptParser(description=description)
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="results (.tsv, .csv), a folder of dynml_infer_from_model.py, or output of dynml_extract_features.py",
    )
    parser.add_argument("participants", metavar="PARTICIPANTS", help="table with participant_id and variables")
    parser.add_argument(
        "target", metavar="TARGET", type=str, help="column of PARTICIPANTS to predict: numbers, or names of classes"
    )
    parser.add_argument("out_folder", metavar="OUT_FOLDER", help="folder for the results; must not exist or be empty")
    parser.add_argument(
        "--measures", nargs="+", type=str, metavar="COLUMN", help="columns of TABLE; default: all numbers"
    )
    parser.add_argument(
        "--confounds",
        nargs="+",
        type=str,
        metavar="COLUMN",
        help="columns of PARTICIPANTS to regress out within folds (age, site)",
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        type=str,
        metavar="COLUMN",
        help="columns whose participants stay in one fold (family, site)",
    )
    parser.add_argument("--hdf5", type=str, help="store; adds static covariances as a baseline")
    parser.add_argument("--group", type=str, help="group of the store")
    parser.add_argument("--experiment", type=str, metavar="PATH", help="trained HMM; adds Fisher scores (with --hdf5)")
    parser.add_argument("--n_folds", type=int, default=5, help="outer folds")
    parser.add_argument("--n_inner_folds", type=int, default=5, help="inner folds, which choose the penalty")
    parser.add_argument("--n_repeats", type=int, default=5, help="repetitions with other folds")
    parser.add_argument(
        "--n_permutations",
        type=int,
        default=1000,
        help="permutations of the target, each through the whole pipeline",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite the results in an existing folder")
    return parser.parse_args()


def run_prediction(arguments: Namespace) -> None:
    """Read, predict, score, write."""
    from dynml.analysis.groups.participants import read_participants
    from dynml.analysis.prediction.cross_validation import PredictionSettings
    from dynml.analysis.prediction.people import people_of, predicted_by_all
    from dynml.cli.outputs.people.prediction import write_prediction

    check_output_folder(Path(arguments.out_folder), force=arguments.force)
    settings = PredictionSettings(
        n_folds=arguments.n_folds,
        n_inner_folds=arguments.n_inner_folds,
        n_repeats=arguments.n_repeats,
        n_permutations=arguments.n_permutations,
        seed=arguments.seed,
    )
    if arguments.measures is not None and _is_no_table(Path(arguments.table)):
        accepted = "absent where TABLE is a folder or extracted features, which have no columns to choose"
        raise ConfigurationError("--measures", " ".join(arguments.measures), accepted)
    if arguments.experiment is not None and arguments.hdf5 is None:
        raise ConfigurationError("--experiment", arguments.experiment, "given together with --hdf5")
    gathered = _gathered(arguments, read_participants(Path(arguments.participants)))
    confounds, together = tuple(arguments.confounds or ()), tuple(arguments.groups or ())
    people = people_of(gathered, str(arguments.target), confounds, together, settings)
    results = predicted_by_all(gathered, people, settings)
    about = {name: arguments[name] for name in ("table", "participants", "hdf5", "experiment")}
    with output_folder(Path(arguments.out_folder), force=arguments.force) as out:
        for finding in write_prediction(out, about, people, settings, results, gathered.findings):
            print(f"Note: {finding}")
        print(f"Participants: {len(people.names)}. Results: {out}")


def _is_no_table(path: Path) -> bool:
    from dynml.analysis.prediction.embeddings import has_embeddings

    return path.is_dir() or has_embeddings(path)


def _gathered(arguments: Namespace, participants: Participants) -> Gathered:
    from dynml.analysis.prediction.embeddings import has_embeddings
    from dynml.analysis.prediction.sources import (
        FISHER,
        STATIC,
        Gathered,
        gather_arrays,
        gather_embeddings,
        gather_folder,
        gather_table,
        scores_of_model,
        static_covariances,
    )

    gathered, table = Gathered(), Path(arguments.table)
    if has_embeddings(table):
        gather_embeddings(gathered, table, participants)
    elif table.is_dir():
        gather_folder(gathered, table, participants)
    else:
        known = [arguments.target, *(arguments.confounds or ()), *(arguments.groups or ())]
        gather_table(gathered, table, participants, arguments.measures, known)
    if arguments.experiment is not None:
        from dynml.models.experiment import load_experiment

        scores = scores_of_model(load_experiment(arguments.experiment), Path(arguments.hdf5), arguments.group)
        gather_arrays(gathered, FISHER, dict(scores), participants)
    if arguments.hdf5 is not None:
        static = static_covariances(Path(arguments.hdf5), arguments.group)
        gather_arrays(gathered, STATIC, static, participants)
    return gathered
