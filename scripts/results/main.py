"""Train recipes of conf/experiment over several seeds, and compare them with published results: `make results`.

python scripts/results/main.py                           every recipe that takes under two minutes per seed
python scripts/results/main.py mnist_800 fashion_128     only these; --seeds 2 for two seeds each
python scripts/results/main.py --only-read               the results of existing runs

Complete runs are not trained again, and after Ctrl-C the same command resumes. Writes results.md, results.csv,
results.png and measured.json.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipe import PROJECT, RECIPES, STOPPED, Recipe, seeds_wanted

from mlplab.config.spelling import did_you_mean
from mlplab.errors import CheckpointError, ConfigError, reported

if TYPE_CHECKING:  # slow to import, and not needed by --help
    from measured import Entries, Measured

LONG_S = 120  # seconds per seed above which a recipe must be named
HERE = PROJECT / "scripts" / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument(
        "--seeds",
        type=_at_least_one,
        metavar="N",
        help="number of seeds (default: 5, or 3 if one takes over 10 minutes)",
    )
    parser.add_argument("--only-read", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path("outputs/results"), help="folder to write to")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="also write into scripts/results, the pages and conf/experiment",
    )
    given = parser.parse_intermixed_args(arguments)
    with reported():
        sys.exit(make(given.recipes, given.seeds, given.only_read, given.publish, given.out))


def make(names: Sequence[str], seeds: int | None, only_read: bool, publish: bool, out: Path) -> int:
    """Train, read and write; with nothing new, publish the stored results.

    Returns the exit code of the first sweep that failed.

    Raises:
        ConfigError: if a name is not a recipe.
        CheckpointError: if there are no results, or they cannot be written.
    """
    import measured

    entries = measured.load(out / "measured.json")
    times = {name: entry.seconds for name, entry in (measured.load(HERE / "measured.json") | entries).items()}
    worst, found = 0, {}
    for recipe in chosen(names, times):
        wanted = seeds or seeds_wanted(times.get(recipe.name, 0))
        if not only_read:
            print(f"\n{recipe.name}: {recipe.published.title}", flush=True)
            code = recipe.train(wanted)
            if code in STOPPED:
                print("Stopped. The same command resumes.", file=sys.stderr)
                return code
            if code:
                print(f"{recipe.name}: its sweep ended with exit code {code}, see above", file=sys.stderr, flush=True)
            worst = worst or code
        if (entry := _read(recipe, wanted)) is not None:
            found[recipe.name] = entry
            entries = measured.keep(out / "measured.json", {recipe.name: entry})
    if entries or not publish:
        _write(entries, out)
    if publish:
        _publish(found)
    return worst


def chosen(names: Sequence[str], times: Mapping[str, float]) -> list[Recipe]:
    """Return the named recipes, or all that do not take long.

    Raises:
        ConfigError: if a name is not a recipe.
    """
    if unknown := [name for name in names if name not in RECIPES]:
        lines = (f"{name}: not a recipe of conf/experiment{did_you_mean(name, RECIPES)}" for name in unknown)
        raise ConfigError("\n".join(lines))
    if names:
        return [RECIPES[name] for name in dict.fromkeys(names)]
    long = [name for name in RECIPES if times.get(name, 0) >= LONG_S]
    if long:
        print(f"Left out, over {LONG_S} s per seed; name them to train them: {', '.join(long)}", flush=True)
    return [recipe for name, recipe in RECIPES.items() if name not in long]


def _read(recipe: Recipe, wanted: int) -> "Measured | None":
    """Read the runs of a recipe, and print which are missing."""
    import measured

    entry = measured.read(recipe.folder, recipe.hash_of, wanted)
    if entry is None:
        print(f"{recipe.name}: no complete run of the current recipe in {recipe.folder}", flush=True)
    elif entry.missing:
        print(f"{recipe.name}: not complete: seed {', '.join(map(str, entry.missing))}", flush=True)
    return entry


def _write(entries: "Entries", out: Path) -> None:
    import page
    import picture

    from mlplab.plots.canvas import png
    from mlplab.runs import atomic_write

    if not page.known(entries):
        raise CheckpointError(f"{out}: no results yet. Omit --only-read to train.")
    contents = {
        "results.md": page.markdown(entries, "results.png").encode(),
        "results.csv": page.as_csv(entries).encode(),
        "results.png": png(picture.draw(entries)),
    }
    try:
        atomic_write.write_own({out / name: content for name, content in contents.items()})
    except OSError as error:
        raise CheckpointError(f"{out}: the page cannot be written: {error.strerror}.") from error
    print(f"\n{page.table(entries)}\n\n{page.conditions(entries)}")
    print("\nWritten: " + ", ".join(str(out / name) for name in contents))


def _publish(found: "Entries") -> None:
    import measured
    import picture
    import publish

    from mlplab.plots.canvas import png
    from mlplab.runs import atomic_write

    kept = HERE / "measured.json"
    entries = measured.keep(kept, measured.updated(measured.load(kept), found, _is_current))
    atomic_write.write(HERE / "results.png", png(picture.draw(entries)), sync=False)
    changed = publish.publish(entries)
    print("Published: " + ", ".join(str(path.relative_to(PROJECT)) for path in changed))


def _is_current(name: str, entry: "Measured") -> bool:
    if name not in RECIPES:
        return False
    return entry.config_hash == {seed: RECIPES[name].hash_of(seed) for seed in entry.config_hash}


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
