"""What dynml_visualize_logs_correlation.py does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dynml.cli.outputs.figures import check_outputs_are_free, figure_paths, limits_of, show_figures, write_figure
from dynml.cli.parsing import Namespace, ScriptParser
from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError, DataWarning, DynmlError

if TYPE_CHECKING:
    from dynml.analysis.log_correlation import LogCorrelation
    from dynml.analysis.log_expressions import LogExpression
    from dynml.analysis.log_reading import ExperimentLogs
    from dynml.plotting.log_correlation import CorrelationSettings


def parse_correlation(description: str | None) -> Namespace:
    """Parse the command line of dynml_visualize_logs_correlation.py."""
    parser = ScriptParser(description=description)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT_PATH", help="experiment folders")
    parser.add_argument("log_1", metavar="LOG1", help="log on the x axis; also diff(a,b) or sum(a,b,...)")
    parser.add_argument("log_2", metavar="LOG2", help="log on the y axis; also diff(a,b) or sum(a,b,...)")
    parser.add_argument("--ignore_first_epochs", type=int, default=0, metavar="N", help="ignore the first N epochs")
    parser.add_argument("--show_first_order_fit", action="store_true", help="draw linear fits")
    parser.add_argument("--show_second_order_fit", action="store_true", help="draw quadratic fits")
    parser.add_argument("--show_individual_logs", action="store_true", help="also draw each log over epochs")
    parser.add_argument("--rename_log1", metavar="NAME", help="name of the first log in figure and table")
    parser.add_argument("--rename_log2", metavar="NAME", help="name of the second log in figure and table")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the experiments, in order")
    parser.add_argument("--title", type=str, help="title of the figure")
    parser.add_argument("--xlim", nargs=2, type=float, metavar=("XMIN", "XMAX"), help="limits of the first log")
    parser.add_argument("--ylim", nargs=2, type=float, metavar=("YMIN", "YMAX"), help="limits of the second log")
    parser.add_argument(
        "--save_figures", metavar="PREFIX", help="save as PREFIX_correlation.png; other formats by suffix"
    )
    parser.add_argument("--save_to_csv", metavar="FILE", help="save the numbers as a table")
    parser.add_argument("--show_now", action="store_true", help="show the figure on the screen")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite existing files")
    return parser.parse_args()


def run_correlation(arguments: Namespace) -> None:
    """Read, correlate, print; save and show what was asked for."""
    check_at_least("--ignore_first_epochs", arguments.ignore_first_epochs, 0)
    settings = _settings(arguments)

    from dynml.analysis.log_expressions import check_logs_are_known, parse_log_expression
    from dynml.analysis.log_reading import read_experiments
    from dynml.analysis.log_tables import write_correlations
    from dynml.plotting.log_correlation import CAUTION, plot_log_correlation

    expressions = (parse_log_expression(arguments.log_1, "LOG1"), parse_log_expression(arguments.log_2, "LOG2"))
    experiments = read_experiments(arguments.experiments, arguments.names)
    known = [name for experiment in experiments for name in experiment.logs]
    for key, expression in zip(("LOG1", "LOG2"), expressions):
        check_logs_are_known([expression], known, key)
    pictures = figure_paths(arguments.save_figures, ["correlation"], "logs") if arguments.save_figures else []
    tables = [Path(arguments.save_to_csv)] if arguments.save_to_csv else []
    check_outputs_are_free([*pictures, *tables], force=arguments.force)
    logs = (
        arguments.rename_log1 or expressions[0].in_words,
        arguments.rename_log2 or expressions[1].in_words,
    )
    correlations = _correlations(experiments, expressions, logs, arguments.ignore_first_epochs)
    _print_table(correlations, logs)
    print(CAUTION)
    for path in pictures:
        write_figure(plot_log_correlation(correlations, logs, settings), path)
        print(path)
    for path in tables:
        texts = (arguments.rename_log1 or expressions[0].text, arguments.rename_log2 or expressions[1].text)
        write_correlations(path, correlations, texts)
        print(path)
    if arguments.show_now:
        show_figures([plot_log_correlation(correlations, logs, settings)])


def _settings(arguments: Namespace) -> CorrelationSettings:
    from dynml.plotting.log_correlation import CorrelationSettings

    wanted = {1: arguments.show_first_order_fit, 2: arguments.show_second_order_fit}
    return CorrelationSettings(
        orders=tuple(order for order, shown in wanted.items() if shown),
        individual_logs=arguments.show_individual_logs,
        xlim=None if arguments.xlim is None else limits_of("--xlim", arguments.xlim),
        ylim=None if arguments.ylim is None else limits_of("--ylim", arguments.ylim),
        title=arguments.title,
    )


def _correlations(
    experiments: Sequence[ExperimentLogs],
    expressions: tuple[LogExpression, LogExpression],
    logs: tuple[str, str],
    ignored: int,
) -> list[LogCorrelation]:
    from dynml.analysis.log_correlation import correlate, pair_logs, pool

    longest = max(experiment.n_epochs for experiment in experiments)
    if ignored >= longest:
        accepted = f"less than {longest}, the epochs of the longest experiment"
        raise ConfigurationError("--ignore_first_epochs", ignored, accepted)
    found = []
    for experiment in experiments:
        lacking = [name for expression in expressions for name in expression.missing_in(experiment.logs)]
        if lacking:
            names = ", ".join(dict.fromkeys(lacking))
            warnings.warn(f"{experiment.name} has no log {names} and is left out.", DataWarning, stacklevel=2)
            continue
        x, y = (expression.values(experiment.logs) for expression in expressions)
        found.append(correlate(pair_logs(x, y, ignored), experiment.name, logs=logs))
    if not found:
        raise DynmlError(f"No experiment has both {expressions[0].text} and {expressions[1].text}.")
    correlations = [*found, *pool(found, logs)]
    for correlation in correlations:
        if correlation.sentence:
            text = f"No correlation can be computed for {correlation.name}: {correlation.sentence}."
            warnings.warn(text, DataWarning, stacklevel=2)
    return correlations


def _print_table(correlations: Sequence[LogCorrelation], logs: tuple[str, str]) -> None:
    print(f"x: {logs[0]}; y: {logs[1]}; one point per epoch")
    width = max(len(found.name) for found in correlations)
    print(f"{'':{width}}  {'n':>6} {'r':>8} {'p':>10} {'slope':>10} {'r of differences':>17} {'p':>10}")
    for found in correlations:
        slope = float(found.fit.polynomial.deriv()(0.0)) if found.fit else math.nan
        numbers = f"{_number(found.r, '8.4f')} {_p(found.p)} {_number(slope, '10.4g')}"
        steps = f"{_number(found.r_of_differences, '17.4f')} {_p(found.p_of_differences)}"
        print(f"{found.name:{width}}  {found.n:6d} {numbers} {steps}")


def _p(value: float) -> str:
    return "  < 1e-300" if value == 0 else _number(value, "10.2g")


def _number(value: float, form: str) -> str:
    return f"{'-':>{form.split('.')[0]}}" if math.isnan(value) else f"{value:{form}}"
