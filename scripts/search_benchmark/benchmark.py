"""Compare this project's search with others, on recorded learning curves and live: `make search-benchmark`.

The curves are those of random configurations on Fashion-MNIST, trained with this project (`--record` trains them again,
in an hour). A replay stops, pauses and continues these runs as each search would. The live part runs the same search
with one worker and with two.

Example: python scripts/search_benchmark/benchmark.py --repetitions 50 --rounds 3
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import calibration
import live
import record
import replay
import tables
from curves import RANKS, Curves
from policies import POLICIES

from mlplab.errors import reported
from mlplab.runs import marked_page

HERE = Path(__file__).resolve().parent
CURVES = HERE / "curves.csv.gz"
DRAWS, BEST, SEEDS = 1000, 50, 10  # recorded configurations; those with more seeds, and how many
SEARCHES = 500  # to judge their intervals by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50, help="replays of each search (default: 50)")
    parser.add_argument("--rounds", type=int, default=3, help="live rounds; 0: none (default: 3)")
    parser.add_argument("--budget", type=int, default=30, help="complete runs of a live search (default: 30)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="only train the curves, into this file")
    parser.add_argument("--curves", type=Path, default=CURVES, metavar="FILE", help="recorded curves")
    parser.add_argument("--publish", type=Path, metavar="PAGE", help="also put the tables between the marks of a page")
    given = parser.parse_args()
    if given.record:
        make_curves(given.record, given.jobs)
        return
    curves = Curves.read(given.curves)
    blocks = [*replayed(curves, given.repetitions, given.jobs)]
    if given.rounds:
        blocks.append(tables.live(live.turns(given.rounds, given.budget)))
    print("\n\n".join(["", *blocks]))
    if given.publish:
        with reported():
            marked_page.publish(given.publish, "search benchmark", "\n\n".join(blocks))


def make_curves(path: Path, jobs: int) -> None:
    """Train the configurations; an interrupted recording is continued."""
    runs = record.runs(DRAWS)
    record.append(path, runs, jobs)
    accs = [max(curve.val_acc, default=0.0) for curve in Curves.read(path).runs]
    record.append(path, record.again(runs, accs, BEST, SEEDS), jobs)


def replayed(curves: Curves, repetitions: int, jobs: int) -> list[str]:
    found = {name: replay.replays(curves, name, repetitions, jobs) for name in POLICIES}
    ours = "mlplab, random draws"
    by_rank = {
        (rank, kept): replay.replays(curves, ours, repetitions, jobs, rank, kept)
        for rank, kept in product(RANKS, RANKS)
    }
    with ProcessPoolExecutor(jobs) as pool:
        judged = list(pool.map(partial(calibration.judged, curves), range(SEARCHES), chunksize=10))
    return [tables.policies(found), tables.ranks(by_rank), tables.coverage([one for one in judged if one is not None])]


if __name__ == "__main__":
    main()
