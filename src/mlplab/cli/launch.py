"""Entry point of train.py: trains one run, or lets Hydra print or begin a sweep, and sets the exit code."""

import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # of 1.3: what `hydra.main` parses the command line with
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlplab import startup
from mlplab.cli import job, usage
from mlplab.cli.compose import composing, with_new_keys
from mlplab.config.validation import nearest
from mlplab.errors import ConfigError, reported, say
from mlplab.runs import folder as run_folder


def launch(conf: Path) -> None:
    """Do what the command line says with the configuration in `conf`, and exit with the code of what happened."""
    ending = [number for number in startup.ending_signals() if number != signal.SIGINT]
    for number in ending:
        signal.signal(number, _terminated)
    words = sys.argv[1:]
    if "install=bash" in words:  # Hydra's would run every script that stands behind `python`
        completion = Path(__file__).with_name("completion.bash").read_text(encoding="utf-8")
        print(f"_mlplab_train={shlex.quote(str(conf.with_name('train.py')))}\n{completion}")
        return
    with reported(), _noted():
        given = _parsed(words)
        options = [word for word in words if word not in given.overrides]
        given.overrides = with_new_keys(given.overrides)
        if given.help:
            print(usage.text(given.overrides, conf))
        elif given.multirun or given.cfg or given.info or given.hydra_help or given.shell_completion:
            _check(given, conf)
            sys.argv[1:] = _in_order(options, given.overrides)
            hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(_no_task)()
        else:
            job.run(given.overrides, conf)
        for heard in [*ending, signal.SIGINT]:  # the work is done, and the exit code says so
            signal.signal(heard, signal.SIG_IGN)


def _in_order(options: list[str], overrides: list[str]) -> list[str]:
    """Join them as Hydra takes them: not mixed, and an option that may have a value not before an override."""
    is_sweep = options in (["-m"], ["--multirun"])
    return [*options, *overrides] if is_sweep else [*overrides, *options]


def _parsed(words: list[str]) -> Namespace:
    """Overrides and options of a command line.

    Raises:
        ConfigError: for an option that there is not, or a combination that leads nowhere.
    """
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign]
    given, unknown = parser.parse_known_intermixed_args(words)
    for word in unknown:
        key = word.lstrip("-").partition("=")[0].replace("-", "_")
        raise ConfigError(f"{word}: a key is given without dashes, as key=value{nearest(key)}")
    resumes = any(word.startswith("resume=") for word in given.overrides)
    named = [word for word in given.overrides if word.startswith(("sweep=", "search=")) and not word.endswith("=null")]
    launchers = " ".join(word for word in given.overrides if word.startswith(("hydra/launcher", "hydra.launcher")))
    files = given.config_dir or given.config_name or given.config_path
    for holds, reason in (
        (sum(map(bool, (given.multirun, given.cfg, given.info))) > 1, "--cfg and --info: print one run. Leave -m out."),
        (given.resolve and not given.cfg, "--resolve: needs --cfg."),
        (given.package and not given.cfg, "--package: needs --cfg, of which it prints a part."),
        (given.experimental_rerun, "--experimental-rerun: not supported. A run is resumed with resume=FOLDER."),
        (files, "--config-dir, --config-name, --config-path: not supported. Add files with hydra.searchpath=[FOLDER]."),
        (resumes and given.cfg, "resume: the configuration of a run is in its folder, .hydra/config.yaml."),
        (resumes and given.multirun, "resume: takes one run, without -m."),
        (launchers, f"{launchers}: sweeps start their jobs themselves: jobs=N at once, launcher=slurm on a cluster."),
        (len(named) > 1 or "," in "".join(named), f"{' '.join(named)}: one at a time: give a command for each"),
        (not _has_folder(), "The current folder has been deleted: change to another one."),
    ):
        if holds:
            raise ConfigError(reason)
    named += [word for word in given.overrides if word == "hydra.mode=MULTIRUN"]
    given.multirun = given.multirun or bool(named and not given.cfg and not given.info)  # a named sweep needs no -m
    return given


def _refuse_option(message: str) -> NoReturn:
    raise ConfigError(f"{message}. All options: python train.py --hydra-help")


def _has_folder() -> bool:
    try:
        return Path.cwd().exists()
    except FileNotFoundError:
        return False


def _check(given: Namespace, conf: Path) -> None:
    """Raise ConfigError for what Hydra would refuse in its own words; the values of a sweep are checked by it."""
    if given.hydra_help or given.shell_completion:
        return
    fixed = given.overrides
    if given.multirun:
        with composing(fixed, conf):
            parsed = OverridesParser.create().parse_overrides(fixed)
        fixed = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    with composing(fixed, conf):
        hydra.compose("config", fixed)


@contextmanager
def _noted() -> Iterator[None]:
    """Write into status.json of a run that has begun how the process ended."""
    try:
        yield
    except BaseException as error:
        run_folder.note_the_end(error)
        raise


def _no_task(composed: object) -> None:
    """Stand where Hydra wants what a job does: workers train the jobs of a sweep."""


def _terminated(number: int, frame: object) -> None:
    say("Terminated." if number == signal.SIGTERM else "The terminal was closed.")
    sys.exit(128 + number)
