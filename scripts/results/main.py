"""Train recipes of conf/experiment over several seeds, and lay them beside what was published: `make results`.

python scripts/results/main.py                           every recipe that takes under two minutes a seed
python scripts/results/main.py mnist_800 fashion_128     these; --seeds 2 for two seeds each
python scripts/results/main.py --only-read               the page of what is there

What is complete is not trained again, and after Ctrl-C the same command goes on. Written are results.md, results.csv,
results.png and measured.json.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import sweeps
from published import RECIPES, seeds_wanted

if TYPE_CHECKING:  # what takes time to import waits until it is needed: --help is there at once
    from measured import Entries, Measured

LONG_S = 120  # of training a seed, from which on a recipe has to be named


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(RECIPES)}")
    parser.add_argument(
        "--seeds", type=_at_least_one, metavar="N", help="how many, from 0 (default: 5, or 3 of over 10 minutes)"
    )
    parser.add_argument("--only-read", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path("outputs/results"), help="folder of what is written")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="put the figures of these recipes into scripts/results, the README and conf/experiment, too",
    )
    given = parser.parse_intermixed_args(arguments)

    from mlplab.errors import reported

    with reported():
        sys.exit(make(given.recipes, given.seeds, given.only_read, given.publish, given.out))


def make(names: Sequence[str], seeds: int | None, only_read: bool, publish: bool, out: Path) -> int:
    """Train, read, write; the exit code is that of the first sweep that went wrong.

    Raises:
        ConfigError: if a name is not in the registry.
        CheckpointError: if there is nothing to write about, or no place for it.
    """
    import measured

    entries = measured.load(out / "measured.json")
    times = expected_s({**measured.load(_published() / "measured.json"), **entries})
    worst, found = 0, {}
    for name in chosen(names, times):
        wanted = seeds or seeds_wanted(times[name])
        if not only_read:
            print(f"\n{name}: {RECIPES[name].title}", flush=True)
            code = sweeps.train(name, wanted)
            if code in sweeps.STOPPED:
                print("Stopped. The same command goes on.", file=sys.stderr)
                return code
            if code:
                print(f"{name}: its sweep ended with exit code {code}, see above", file=sys.stderr, flush=True)
            worst = worst or code
        entry = _read(name, wanted)
        if entry is not None:
            found[name] = entry
            entries = measured.kept(out / "measured.json", {name: entry})
    write(entries, out)
    if publish:
        _publish(found)
    return worst


def expected_s(measured: "Entries") -> dict[str, float]:
    """Of training a seed of each recipe, as measured or as guessed."""
    return {name: measured[name].seconds if name in measured else recipe.seconds for name, recipe in RECIPES.items()}


def chosen(names: Sequence[str], times: Mapping[str, float]) -> list[str]:
    """Those that are named, or all that do not take long.

    Raises:
        ConfigError: if a name is not in the registry.
    """
    from mlplab.config.spelling import did_you_mean
    from mlplab.errors import ConfigError

    unknown = [f"{name}: is not a recipe of scripts/results/published.py" for name in names if name not in RECIPES]
    if unknown:
        raise ConfigError("\n".join(f"{line}{did_you_mean(line.partition(':')[0], RECIPES)}" for line in unknown))
    if names:
        return list(dict.fromkeys(names))
    long = [name for name, seconds in times.items() if seconds >= LONG_S]
    if long:
        print(f"Left out, over {LONG_S} s a seed; name them to have them: {', '.join(long)}", flush=True)
    return [name for name in RECIPES if name not in long]


def write(entries: "Entries", out: Path) -> None:
    import page

    from mlplab.errors import CheckpointError
    from mlplab.plots.canvas import png
    from mlplab.runs import atomic_write

    if not page.known(entries):
        raise CheckpointError(f"{out}: nothing is measured yet. Leave --only-read out to train.")
    contents = {
        "results.md": page.markdown(entries, "results.png").encode(),
        "results.csv": page.as_csv(entries).encode(),
        "results.png": png(page.picture(entries)),
    }
    try:
        atomic_write.write_own({out / name: content for name, content in contents.items()})
    except OSError as error:
        raise CheckpointError(f"{out}: the page cannot be written there: {error.strerror}.") from error
    print(f"\n{page.table(entries, with_commands=False)}\n\n{page.conditions(entries)}")
    print("\nWritten: " + ", ".join(str(out / name) for name in contents))


def _read(name: str, wanted: int) -> "Measured | None":
    """Says what is missing; what cannot be composed has been complained about by its sweep."""
    import measured
    from hydra.errors import HydraException

    from mlplab.errors import MlplabError

    try:
        entry = measured.read(sweeps.folder(name), sweeps.hashes(name), wanted)
    except (MlplabError, HydraException) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return None
    if entry is None:
        print(f"{name}: no run of the recipe as it is now is complete in {sweeps.folder(name)}", flush=True)
    elif entry.missing:
        missing = ", ".join(map(str, entry.missing))
        print(f"{name}: not complete: seed {missing}", flush=True)
    return entry


def _publish(found: "Entries") -> None:
    import headers
    import measured
    import page

    from mlplab.errors import CheckpointError
    from mlplab.plots.canvas import png
    from mlplab.runs import atomic_write

    if not found:
        raise CheckpointError("Nothing is published: of none of these recipes a run is complete.")
    path = _published() / "measured.json"
    entries = measured.kept(path, measured.published(measured.load(path), found, _is_current))
    atomic_write.write(_published() / "results.png", png(page.picture(entries)), sync=False)
    changed = headers.publish(entries)
    print("Published: " + ", ".join(str(path.relative_to(sweeps.PROJECT)) for path in changed))


def _is_current(name: str, entry: "Measured") -> bool:
    hash_of = sweeps.hashes(name)
    return entry.config_hash == {seed: hash_of(seed) for seed in entry.config_hash}


def _published() -> Path:
    """Where the figures of the README are kept."""
    return sweeps.PROJECT / "scripts" / "results"


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
