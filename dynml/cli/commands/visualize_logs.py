"""What dynml_visualize_logs.py does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.outputs.figures import check_outputs_are_free, figure_paths, limits_of, show_figures, write_figure
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.errors import ConfigurationError, DataWarning, DynmlError
from dynml.training.costs import COST_ENDINGS

if TYPE_CHECKING:
    from dynml.analysis.log_expressions import LogExpression
    from dynml.analysis.log_reading import ExperimentLogs
    from dynml.plotting.log_limits import AxisSettings
    from dynml.plotting.logs import LogGraph

GRAPH = "a title, one to six logs, and at the end, if at all, both limits of y"
LOSSES = {"training_loss", "validation_loss", "training_objective", "best_value"}


def parse_visualization(description: str | None) -> Namespace:
    """Parse the command line of dynml_visualize_logs.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT_PATH", help="experiment folders to compare")
    parser.add_argument(
        "--logs",
        nargs="+",
        metavar="LOG",
        help="logs to draw, one panel each; default: all except times and memory",
    )
    parser.add_argument(
        "--graph",
        nargs="+",
        action="append",
        metavar="WORD",
        help="one panel: title, logs, and optional y limits (TITLE LOG... [YMIN YMAX]); may be repeated",
    )
    parser.add_argument(
        "--save_figures", metavar="PREFIX", help="save as PREFIX_<number>.png; other formats by suffix (PREFIX.pdf)"
    )
    parser.add_argument("--save_to_csv", metavar="FILE", help="save all values as a table")
    parser.add_argument("--show_now", action="store_true", help="show the figures on the screen")
    parser.add_argument("--nb_plots_per_fig", type=int, default=3, help="number of panels per figure")
    parser.add_argument("--xlim", nargs="+", type=float, metavar="EPOCH", help="[first and] last epoch to show")
    parser.add_argument("--ylims", nargs=2, type=float, metavar=("YMIN", "YMAX"), help="y limits of all panels")
    parser.add_argument("--log_scale", action="store_true", help="logarithmic y axes")
    parser.add_argument(
        "--remove_outliers", action="store_true", help="ignore outliers in the y limits, and print their number"
    )
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the experiments, in order")
    parser.add_argument("--title", type=str, help="title of the figures")
    parser.add_argument(
        "--fig_size", nargs=2, type=float, metavar=("WIDTH", "HEIGHT"), help="size of a figure in inches"
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite existing files")
    return parser.parse_args()


def run_visualization(arguments: Namespace) -> None:
    """Read logs, save and show what was asked for; print where they end if nothing was."""
    _refuse_what_only_figures_use(arguments)
    settings, size = _axis_settings(arguments), _figure_size(arguments)

    from dynml.analysis.log_reading import read_experiments, sentences_on_comparison
    from dynml.analysis.log_tables import write_logs
    from dynml.plotting.logs import plot_logs

    experiments = read_experiments(arguments.experiments, arguments.names)
    _check_epochs_exist(settings, experiments)
    graphs = _chosen_graphs(arguments, experiments)
    pages = _pages(graphs, arguments.nb_plots_per_fig)
    numbers = [str(number) for number in range(1, len(pages) + 1)]
    pictures = figure_paths(arguments.save_figures, numbers, "logs") if arguments.save_figures else []
    tables = [Path(arguments.save_to_csv)] if arguments.save_to_csv else []
    check_outputs_are_free([*pictures, *tables], force=arguments.force)
    _warn_of_missing_logs(graphs, experiments)
    drawn = {name for graph in graphs for expression in graph.expressions for name in expression.log_names}
    for sentence in sentences_on_comparison(experiments) if drawn & LOSSES else []:
        warnings.warn(sentence, DataWarning, stacklevel=2)
    figures = []
    if pictures or arguments.show_now:
        figures = [plot_logs(experiments, page, settings, title=arguments.title, size=size) for page in pages]
    for path, figure in zip(pictures, figures):
        write_figure(figure, path)
        print(path)
    for path in tables:
        write_logs(path, experiments, [expression for graph in graphs for expression in graph.expressions])
        print(path)
    if arguments.show_now:
        show_figures(figures)
    if not (pictures or tables or arguments.show_now):
        _print_last_values(experiments, [expression for graph in graphs for expression in graph.expressions])


def _print_last_values(experiments: Sequence[ExperimentLogs], expressions: Sequence[LogExpression]) -> None:
    import numpy as np

    from dynml.plotting.logs import legend_name

    texts = list(dict.fromkeys(expression.text for expression in expressions))
    by_text = {expression.text: expression for expression in expressions}
    for experiment in experiments:
        print(f"{legend_name(experiment)}: last of {experiment.n_epochs} epoch{'s' if experiment.n_epochs > 1 else ''}")
        for text in texts:
            if by_text[text].missing_in(experiment.logs):
                continue
            values = by_text[text].values(experiment.logs)
            known = values[np.isfinite(values)]
            print(f"  {text:<{max(map(len, texts))}}  {f'{known[-1]:.6g}' if len(known) else 'n/a'}")
    print("Draw them: --save_figures PREFIX or --show_now; all values: --save_to_csv FILE; which: --logs, --graph.")


def _refuse_what_only_figures_use(arguments: Namespace) -> None:
    if arguments.save_figures or arguments.show_now:
        return
    for name in ("xlim", "ylims", "log_scale", "remove_outliers", "title", "fig_size"):
        if getattr(arguments, name):
            raise DynmlError(f"--{name} changes figures only: give --save_figures or --show_now, too.")


def _axis_settings(arguments: Namespace) -> AxisSettings:
    from dynml.plotting.log_limits import AxisSettings

    ylims = None if arguments.ylims is None else limits_of("--ylims", arguments.ylims)
    if ylims is not None and arguments.remove_outliers:
        raise DynmlError("--ylims and --remove_outliers both choose the limits of y; give one of them.")
    _check_log_limits("--ylims", ylims, log_scale=arguments.log_scale)
    return AxisSettings(
        xlim=None if arguments.xlim is None else _epochs_to_show(arguments.xlim),
        ylims=ylims,
        log_scale=arguments.log_scale,
        remove_outliers=arguments.remove_outliers,
    )


def _epochs_to_show(words: Sequence[float]) -> tuple[float | None, float]:
    first, last = words if len(words) == 2 else (None, words[0])
    finite = all(math.isfinite(word) for word in words)
    if len(words) > 2 or not finite or last <= (1 if first is None else first):
        accepted = "the last epoch to show (above 1), or the first and the last one"
        raise ConfigurationError("--xlim", " ".join(f"{word:g}" for word in words), accepted)
    return first, last


def _check_epochs_exist(settings: AxisSettings, experiments: Sequence[ExperimentLogs]) -> None:
    longest = max(experiment.n_epochs for experiment in experiments)
    if settings.xlim is not None and settings.xlim[0] is not None and settings.xlim[0] > longest:
        accepted = f"limits that begin at epoch {longest} or before, where the longest experiment ends"
        raise ConfigurationError("--xlim", f"{settings.xlim[0]:g} {settings.xlim[1]:g}", accepted)


def _figure_size(arguments: Namespace) -> tuple[float, float] | None:
    if arguments.nb_plots_per_fig < 1:
        raise ConfigurationError("--nb_plots_per_fig", arguments.nb_plots_per_fig, "a whole number of at least 1")
    if arguments.fig_size is None:
        return None
    width, height = arguments.fig_size
    if not (3 <= width <= 100 and 3 <= height <= 100):
        raise ConfigurationError("--fig_size", f"{width:g} {height:g}", "a width and a height of 3 to 100 inches")
    return width, height


def _check_log_limits(key: str, limits: tuple[float, float] | None, *, log_scale: bool) -> None:
    if log_scale and limits is not None and limits[0] <= 0:
        raise ConfigurationError(key, f"{limits[0]:g} {limits[1]:g}", "above 0 on a logarithmic axis")


def _chosen_graphs(arguments: Namespace, experiments: Sequence[ExperimentLogs]) -> list[LogGraph]:
    """One graph for each of --logs, then those of --graph; without both, one for every log but times and memory."""
    from dynml.plotting.logs import LogGraph

    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.logs))
    logs = list(dict.fromkeys(arguments.logs or []))
    if not (logs or arguments.graph):
        logs = [name for name in known if not name.endswith(COST_ENDINGS)] or known
    expressions = [_known_expression(text, known, "--logs") for text in logs]
    single = [LogGraph(title=expression.in_words, expressions=(expression,)) for expression in expressions]
    return single + [_read_graph(words, known, log_scale=arguments.log_scale) for words in arguments.graph or []]


def _known_expression(text: str, known: Sequence[str], key: str) -> LogExpression:
    from dynml.analysis.log_expressions import check_logs_are_known, parse_log_expression

    expression = parse_log_expression(text, key)
    check_logs_are_known([expression], known, key)
    return expression


def _read_graph(words: Sequence[str], known: Sequence[str], *, log_scale: bool) -> LogGraph:
    from dynml.plotting.logs import STYLES, LogGraph

    title, *logs = words
    limits = None
    if logs and _is_number(logs[-1]):
        limits = limits_of("--graph", logs[-2:])
        logs = logs[:-2]
        _check_log_limits("--graph", limits, log_scale=log_scale)
    if not 1 <= len(logs) <= len(STYLES):
        raise ConfigurationError("--graph", " ".join(words), GRAPH)
    expressions = tuple(_known_expression(text, known, "--graph") for text in logs)
    return LogGraph(title=title, expressions=expressions, ylims=limits)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pages(graphs: list[LogGraph], step: int) -> list[list[LogGraph]]:
    return [graphs[start : start + step] for start in range(0, len(graphs), step)]


def _warn_of_missing_logs(graphs: Sequence[LogGraph], experiments: Sequence[ExperimentLogs]) -> None:
    """One sentence per experiment, so that many logs of two families make no flood."""
    for experiment in experiments:
        expressions = [expression for graph in graphs for expression in graph.expressions]
        lacking = [name for expression in expressions for name in expression.missing_in(experiment.logs)]
        if lacking:
            names = ", ".join(dict.fromkeys(lacking))
            warnings.warn(
                f"{experiment.name} has no log {names}; it is left out of the curves that need it.",
                DataWarning,
                stacklevel=2,
            )
