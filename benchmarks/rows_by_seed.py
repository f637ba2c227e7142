"""Rows of a benchmark that is repeated for many seeds: each is kept as soon as it is known, and not made again."""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def parser_of_seeds(description: str | None, seeds: str) -> argparse.ArgumentParser:
    """Arguments that all of these benchmarks have: a folder for rows, seeds as FIRST:STOP, and a file to sum up in."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--summary", type=Path)
    return parser


def rows_by_seed(
    arguments: argparse.Namespace,
    name: str,
    keys: Sequence[Row],
    made: Callable[[Row, int], Row],
    summed_up: Callable[[list[Row]], Row],
) -> None:
    """Make the rows that are missing, or sum up those that are there.

    Parameters
    ----------
    arguments : Namespace
        See `parser_of_seeds`.
    name : str
        File of the rows in the folder, one JSON object a line.
    keys : sequence of dict
        What is done for each seed: entries that tell its rows from others.
    made : callable
        Called with one of `keys` and a seed; gives the row's other entries.
    summed_up : callable
        Called with all rows; gives the summary.
    """
    path = arguments.folder / name
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if arguments.summary is not None:
        arguments.summary.write_text(json.dumps(summed_up(done), indent=2) + "\n")
        return
    arguments.folder.mkdir(exist_ok=True)
    for key, seed in _missing(done, keys, range(*map(int, arguments.seeds.split(":")))):
        begun = time.process_time()
        row = {**key, "seed": seed, **made(key, seed)}
        row["processor_seconds"] = round(time.process_time() - begun, 1)
        with path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(row, flush=True)


def _missing(done: Sequence[Row], keys: Sequence[Row], seeds: range) -> Iterator[tuple[Row, int]]:
    for seed in seeds:
        for key in keys:
            wanted = {**key, "seed": seed}
            if not any(wanted.items() <= row.items() for row in done):
                yield key, seed
