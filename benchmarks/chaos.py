"""What dynml does when it is killed, when bits flip, and when files are not what they should be.

    python benchmarks/chaos.py [kills] [flips] [fuzz] [--n_kills 200] [--n_flips 4000] [--n_files 100000]
                               [--seed 0] [--n_processes 2] [--names NAME ..]
    python benchmarks/chaos.py again NAME NUMBER [--seed 0]

kills: `kill -9` and SIGTERM at random times of training, of making a store, and of adding to one, each followed by the
same command again; the result must be that of an undisturbed command, bit for bit. flips: single bits in stores,
checkpoints, models and compressed recordings; no number may be taken that is not the right one. fuzz: mutated files
over all readers; each is accepted or refused in one sentence, without a traceback, a crash, a hang, or memory beyond a
limit. `again` reads one mutated file of a format in this process, so that its traceback is seen. All three take about
an hour on two cores. Results go to benchmarks/results/chaos.json with date and machine, those of parts that did not
run this time stay.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import date
from typing import Any

from chaos_flips import flip_all
from chaos_fuzz import BAD, all_specimens, damage_all, one_again
from chaos_kills import kill_all
from hmm_pass import RESULTS, machine

PARTS = ("kills", "flips", "fuzz")
OUTCOMES = ("accepted", "harmless", "refused", "told", *BAD)


def fuzz(n_files: int, seed: int, n_processes: int, names: list[str] | None) -> dict[str, Any]:
    """Read mutated files of all formats, or of some."""
    specimens = [one for one in all_specimens() if not names or one.name in names]
    return damage_all(specimens, n_files, seed, n_processes)


def table_of(report: dict[str, Any]) -> str:
    """Counts by format and outcome, and the kinds of failure."""
    shown = [outcome for outcome in OUTCOMES if any(outcome in row for row in report["formats"].values())]
    lines = ["".join([f"{'':32}", *(f"{outcome:>11}" for outcome in shown)])]
    for name, row in [*report["formats"].items(), ("all", report["totals"])]:
        lines.append("".join([f"{name:32}", *(f"{row.get(outcome, 0):>11}" for outcome in shown)]))
    for kind in report["failures"]:
        what = " ".join(str(kind.get(key, "")) for key in ("outcome", "exception", "where", "message"))
        lines.append(f"{kind['specimen']}: {what} ({kind['count']}; numbers {kind['numbers']})")
    return "\n".join(lines)


def main() -> None:
    """Run the parts that were asked for, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help="kills, flips, fuzz; or: again NAME NUMBER")
    parser.add_argument("--n_kills", type=int, default=200)
    parser.add_argument("--n_flips", type=int, default=4000)
    parser.add_argument("--n_files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n_processes", type=int, default=2)
    parser.add_argument("--names", nargs="*", help="only these formats, files or jobs")
    arguments = parser.parse_args()
    if arguments.parts[0] == "again":
        one_again(arguments.parts[1], int(arguments.parts[2]), arguments.seed)
        return
    path = RESULTS / "chaos.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    shared = {"seed": arguments.seed, "names": arguments.names}
    for part in arguments.parts:
        begin = time.monotonic()
        if part == "kills":
            found = kill_all(arguments.n_kills, **shared)
        elif part == "flips":
            found = flip_all(arguments.n_flips, n_processes=arguments.n_processes, **shared)
        else:
            found = fuzz(arguments.n_files, n_processes=arguments.n_processes, **shared)
        if part != "kills":
            print(f"\n{table_of(found)}", flush=True)
        about = {"date": date.today().isoformat(), "machine": machine("cpu"), "load": os.getloadavg()[0]}
        report[part] = {**about, "seconds": round(time.monotonic() - begin), **found}
        path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
