"""Stop runs in every way, go on with them, and compare: `make torture`.

Runs are small and many, seeded by --seed, and train scikit-learn's digits: no data has to be there. Prints a table, and
ends with 1 if anything was lost.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import damage
import kills
import search
import sweeps
from report import Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    page = "put the table between the marks of a Markdown page"
    parser.add_argument("--publish", type=Path, metavar="PAGE", help=page)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    report = Report()
    for name in arguments.only:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            PARTS[name](Path(folder), random.Random(f"{arguments.seed} {name}"), report)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    report.show()
    if arguments.publish:
        report.publish(arguments.publish)
    sys.exit(bool(report.failures))


PARTS: dict[str, Callable[[Path, random.Random, Report], None]] = {
    "kills": kills.at_random_times,
    "points": kills.at_named_points,
    "signals": kills.by_signals,
    "writes": kills.while_writing,
    "starts": kills.started_together,
    "sweeps": sweeps.killed_at_random_times,
    "sweep-starts": sweeps.started_together,
    "search": search.killed_at_random_times,
    "search-points": search.killed_at_named_points,
    "search-workers": search.with_any_workers,
    "pauses": search.paused_in_processes,
    "disk": damage.full_and_read_only_disks,
    "bits": damage.flipped_bits,
}

if __name__ == "__main__":
    main()
