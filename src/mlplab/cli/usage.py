"""The text of `python train.py --help`: examples, groups, and each key with its default, range and meaning."""

import textwrap
from pathlib import Path

from mlplab.cli.compose import compose
from mlplab.cli.hydra_errors import groups
from mlplab.config.keys import Key, keys

WIDTH = 120
TEMPLATE = """\
Train a multilayer perceptron on MNIST, other small images, or your own pictures and tables.

  python train.py                                              MNIST, downloaded on first use
  python train.py model.hidden=512 data=fashion
  python train.py data=folder data.root=~/pets                 your own pictures, in folders by class
  python train.py model.hidden=[512,512] model.dropout=0.2 optimizer=rmsprop
  python train.py experiment=mnist_512x2_rmsprop seed=3        a recipe
  python train.py -m model.hidden=128,512 optimizer=adam,sgd   a sweep: every combination
  python train.py search=mlp data=fashion                      a hyperparameter search
  python train.py resume=last                                  resume the newest run

Choose from a group with group=choice:

{groups}

Set any key with key=value. Each line shows a key, its default, its allowed values and its meaning.

{keys}

Every other argument of the optimizer and the scheduler, and every other flag of lightning.Trainer, is also a key:
optimizer.amsgrad=true.

  resume=FOLDER        resume a run: its folder, one of its checkpoints, or last
  resume_anyway=true   resume even if another processor or version of torch will change the weights
  sweep_name=NAME      name of a sweep (-m) or a search; the same command resumes it
  search.budget=N      budget of a search, in whole runs; conf/README.md lists its other keys
  jobs=N               number of jobs of a sweep that run at once; launcher=slurm runs them on a cluster
  sweep_without=[...]  combinations to leave out of a sweep, such as "data=mnist ablation=shift,affine"
  hydra.run.dir=FOLDER hydra.sweep.dir=FOLDER   folder of a run or a sweep

Options: -m (sweep), --cfg job (print the configuration), --help, --hydra-help (options of Hydra)
"""


def text(overrides: list[str], conf: Path) -> str:
    """Return the help text; its defaults follow the choices made, so `--help optimizer=sgd` shows those of SGD."""
    choices = [_wrapped(f"  {group + ':':<16}", ", ".join(names), indent=18) for group, names in groups(conf).items()]
    shown = (key for key in keys(compose(overrides, conf)) if not _is_left_out(key))
    return TEMPLATE.format(groups="\n".join(choices), keys="\n".join(map(_line, shown)))


def _is_left_out(key: Key) -> bool:
    """Tell whether a key is a fact of a recipe, or an argument that the optimizer or the schedule does not take."""
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
