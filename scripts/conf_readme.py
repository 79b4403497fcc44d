"""Write conf/README.md, the reference of all keys, from the schema and the choices in conf.

python scripts/conf_readme.py
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from mlplab.cli.compose import compose
from mlplab.cli.hydra_errors import groups
from mlplab.config.former_keys import GROUPS, KEYS
from mlplab.config.keys import Key, keys
from mlplab.runs import atomic_write
from mlplab.search.settings import Settings

CONF = Path(__file__).resolve().parents[1] / "conf"
ABOUT = """\
# Configuration

*Written by `scripts/conf_readme.py` from `src/mlplab/config/schema.py`.*

Set a key with `key=value`, and choose from a group with `group=choice`. With `-m`, several values make a sweep:

    python train.py model.hidden=[512,512] optimizer=rmsprop regularization=shift
    python train.py -m model.hidden=128,512 seed=0,1,2

`config.yaml` holds the defaults and their order of precedence, `experiment/` the recipes. `python train.py --cfg job`
prints the configuration of a run; `python train.py --help` also lists the keys of the command itself, such as `resume`.
"""
OPEN = """\
Every other argument of the optimizer and the schedule, and every other flag of `lightning.Trainer`, is also a key:
`optimizer.amsgrad=true`. In `optimizer` and `scheduler`, null means that the class does not take the argument, or its
default. `regularization` holds all regularisation except `model.dropout`, `model.batch_norm`, `optimizer.weight_decay`,
`scheduler.warmup` and `early_stopping`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    atomic_write.write(CONF / "README.md", content().encode(), sync=False)
    print(CONF / "README.md")


def content() -> str:
    os.environ.pop("MLPLAB_DATA", None)  # so that data.root shows the default that everyone has
    found = [key for key in keys(compose([], CONF)) if not key.name.startswith("published.")]
    choices = [f"- `{group}`: {', '.join(names)}" for group, names in groups(CONF).items()]
    return "\n".join(
        [
            *(ABOUT, "## Groups\n", *choices),
            *("\n## Keys\n", OPEN, *_table(found)),
            *("\n## Keys of a search\n", *_table(_of_a_search())),
            *("\n## Former keys\n", _former(), ""),
        ]
    )


def _of_a_search() -> list[Key]:
    """Return the keys and defaults of `search=halving`."""
    given = yaml.safe_load((CONF / "search" / "halving.yaml").read_text(encoding="utf-8"))["search"]
    return list(keys(Settings.model_validate(given), "search."))


def _table(found: Sequence[Key]) -> list[str]:
    return ["| key | default | values | meaning |", "| --- | --- | --- | --- |", *map(_row, found)]


def _row(key: Key) -> str:
    cells = (f"`{key.name}`", f"`{key.value}`", key.range, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _former() -> str:
    renamed = [f"`{former}` is `{key}`" for former, key in {**GROUPS, **KEYS}.items()]
    return f"Still accepted in commands and in runs of earlier versions: {', '.join(renamed)}."


if __name__ == "__main__":
    main()
