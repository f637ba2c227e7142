"""Arguments of dynml_resume_training_from_checkpoint.py."""

from __future__ import annotations

from dynml.cli.commands.run_request import RunRequest
from dynml.cli.commands.train import LOGGERS, request_from_parameters
from dynml.cli.parsing import ScriptParser


def parse_resume(description: str | None) -> RunRequest:
    """Read what the experiment was started with, and change what the command line says.

    The checkpoint's own parameters count; those of a run that was killed before its first checkpoint stand in
    parameters_latest.json.
    """
    parser = ScriptParser(description=description)
    parser.add_argument("experiments_path", metavar="EXPERIMENTS_PATH", help="folder of all experiments")
    parser.add_argument("experiment_name", metavar="EXPERIMENT_NAME", help="experiment to resume")
    parser.add_argument("--new_max_epochs", type=int, help="maximum number of epochs, including those already done")
    parser.add_argument(
        "--new_max_steps",
        type=int,
        help="maximum number of training batches, including those already done",
    )
    parser.add_argument("--new_patience", type=int, help="epochs without improvement before stopping")
    parser.add_argument(
        "--new_max_time", type=float, help="stop with a checkpoint after this many minutes; the other limits remain"
    )
    parser.add_argument("--new_learning_rate", type=str, help="learning rate from now on (gradient families)")
    parser.add_argument("--new_batch_size_training", type=int, help="batch size from now on")
    parser.add_argument("--hdf5_file", type=str, help="store, if it has been moved; it must hold the same data")
    parser.add_argument("--device", type=str, help="cpu, cuda, ...")
    parser.add_argument("--residency", type=str, help="auto, device, memory or lazy")
    parser.add_argument("--force", action="store_true", help="continue although the data or settings differ")
    parser.add_argument("--comet.project", type=str, help="report to this project of comet.ml from now on")
    parser.add_argument("--comet.workspace", type=str, help="workspace of the project")
    parser.add_argument("--comet.mode", type=str, help="auto, online, offline, or off (stop reporting)")
    parser.add_argument("--tensorboard.enabled", type=bool, help="write event files for TensorBoard from now on")
    arguments = parser.parse_args()

    from dynml.errors import CheckpointError
    from dynml.files import as_dynml_wrote, read_json
    from dynml.training.checkpoints.committed import newest_committed
    from dynml.training.checkpoints.experiment_folder import PARAMETERS, ExperimentFolder

    folder = ExperimentFolder(arguments.experiments_path, arguments.experiment_name)
    newest, _ = newest_committed(folder.checkpoint)
    saved = newest / PARAMETERS if newest else folder.path / "parameters_latest.json"
    if not saved.exists():
        raise CheckpointError(
            f"{folder.path} is not an experiment: it has no checkpoint and no parameters_latest.json."
        )
    changes = {
        "trainer": {
            "max_epochs": arguments.new_max_epochs,
            "max_steps": arguments.new_max_steps,
            "patience": arguments.new_patience,
            "max_time": arguments.new_max_time,
            "learning_rate": arguments.new_learning_rate,
            "device": arguments.device,
        },
        "sampler": {"batch_size_training": arguments.new_batch_size_training},
        "loader": {"residency": arguments.residency},
        **{group: arguments[group].as_dict() for group in LOGGERS},
    }
    parameters = read_json(saved)
    with as_dynml_wrote(saved):
        return request_from_parameters(parameters, folder.path, changes, arguments.hdf5_file, force=arguments.force)
