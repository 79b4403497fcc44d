"""The text of `python train.py --help`: examples, groups, and each key with its default, range and meaning."""

import textwrap
from pathlib import Path

from mlplab.cli.compose import compose
from mlplab.cli.hydra_errors import groups
from mlplab.config.keys import Key, keys

WIDTH = 120
TEMPLATE = """\
Train a multilayer perceptron on MNIST, Fashion-MNIST or the digits of scikit-learn.

  python train.py                                              MNIST, downloaded on first use
  python train.py model.hidden=512 data=fashion
  python train.py model.hidden=[512,512] model.dropout=0.2 optimizer=rmsprop
  python train.py experiment=mnist_512x2_rmsprop seed=3        a recipe
  python train.py -m model.hidden=128,512 optimizer=adam,sgd   a sweep: every combination
  python train.py search=mlp data=fashion                      a search: the best of a space for a budget
  python train.py resume=last                                  the newest run, from where it stopped

Choose one of each group with group=choice:

{groups}

Set any key with key=value. With each key: its default, the values it takes, and its meaning.

{keys}

Every other argument of the optimizer and the scheduler, and every other flag of lightning.Trainer, is a key, too:
optimizer.amsgrad=true.

  resume=FOLDER        resume a run: its folder, one of its checkpoints, or last
  resume_anyway=true   even if its weights will differ, on another processor or with another version of torch
  sweep_name=NAME      names a sweep (-m) or a search; the same command resumes it
  search.budget=N      of a search, in whole runs; its other keys are in conf/README.md
  jobs=N               how many jobs of a sweep run at once; launcher=slurm runs them on a cluster
  sweep_without=[...]  leaves jobs out of a sweep, such as "data=mnist ablation=shift,affine"
  hydra.run.dir=FOLDER hydra.sweep.dir=FOLDER   where a run or a sweep is written

Options: -m sweep, --cfg job print the configuration, --help, and those of Hydra: --hydra-help
"""


def text(overrides: list[str], conf: Path) -> str:
    """Defaults are those of the choices made: `--help optimizer=sgd` has those of SGD."""
    choices = [_wrapped(f"  {group + ':':<16}", ", ".join(names), indent=18) for group, names in groups(conf).items()]
    shown = (key for key in keys(compose(overrides, conf)) if not _is_left_out(key))
    return TEMPLATE.format(groups="\n".join(choices), keys="\n".join(map(_line, shown)))


def _is_left_out(key: Key) -> bool:
    """Tell facts of a recipe, and arguments that the optimizer or the schedule does not take."""
    section, _, name = key.name.partition(".")
    of_class = section in ("optimizer", "scheduler") and name not in ("name", "interval")
    return section == "published" or (of_class and key.value == "null")


def _line(key: Key) -> str:
    head, body = f"  {key.name:<32}{key.value:<10}  ", f"{key.range}: {key.meaning}"
    return _wrapped(head, body, indent=46)


def _wrapped(head: str, body: str, indent: int) -> str:
    return textwrap.fill(
        body, WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
