"""What dynml_visualize_logs.py does."""

from __future__ import annotations

from pathlib import Path

from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DynmlError


def parse_visualization(description: str | None) -> Namespace:
    """Parse the command line of dynml_visualize_logs.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT_PATH", help="experiment folders to compare")
    parser.add_argument("--logs", nargs="+", help="logs to draw; default: all but times")
    parser.add_argument("--save_figures", metavar="PREFIX", help="save the figures as PREFIX_<number>.png")
    parser.add_argument("--save_to_csv", metavar="FILE", help="save all values as a table")
    parser.add_argument("--show_now", action="store_true", help="show the figures on the screen")
    parser.add_argument("--nb_plots_per_fig", type=int, default=3, help="panels in a figure")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite existing files")
    return parser.parse_args()


def run_visualization(arguments: Namespace) -> None:
    """Read logs, save and show what was asked for."""
    from dynml.files import read_json
    from dynml.plotting.logs import names_of_experiments, plot_logs, read_logs, write_logs
    from dynml.plotting.style import save_figure

    if not (arguments.save_figures or arguments.save_to_csv or arguments.show_now):
        raise DynmlError("Nothing to do: give --save_figures, --save_to_csv or --show_now.")
    if arguments.nb_plots_per_fig < 1:
        raise ConfigurationError("--nb_plots_per_fig", arguments.nb_plots_per_fig, "a whole number of at least 1")
    names = names_of_experiments(arguments.experiments)
    logs = {name: read_logs(path) for name, path in zip(names, arguments.experiments)}
    summaries = {name: Path(path) / "summary.json" for name, path in zip(names, arguments.experiments)}
    best = {name: read_json(path).get("best_epoch") for name, path in summaries.items() if path.exists()}
    chosen = _chosen(arguments.logs, list(dict.fromkeys(log for own in logs.values() for log in own)))
    step = arguments.nb_plots_per_fig
    figures = [plot_logs(logs, chosen[start : start + step], best) for start in range(0, len(chosen), step)]
    if arguments.save_figures:
        for number, figure in enumerate(figures, start=1):
            path = _free(Path(f"{arguments.save_figures}_{number}.png"), force=arguments.force)
            print(save_figure(figure, path))
    if arguments.save_to_csv:
        path = _free(Path(arguments.save_to_csv), force=arguments.force)
        write_logs(path, logs)
        print(path)
    if arguments.show_now:
        _show(figures)


def _chosen(wanted: list[str] | None, known: list[str]) -> list[str]:
    if wanted is None:
        return [name for name in known if not name.endswith("_seconds")]
    for name in wanted:
        if name not in known:
            raise ConfigurationError("--logs", name, f"a log of these experiments{nearest_name(name, known)}")
    return wanted


def _free(path: Path, *, force: bool) -> Path:
    if path.exists() and not force:
        raise DynmlError(f"{path} exists already; use -f to overwrite it.")
    return path


def _show(figures: list) -> None:
    from matplotlib import pyplot

    for figure in figures:
        manager = pyplot.figure(figsize=figure.get_size_inches()).canvas.manager
        assert manager is not None
        figure.set_canvas(manager.canvas)
        manager.canvas.figure = figure
    pyplot.show()
