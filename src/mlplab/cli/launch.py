"""Entry point of train.py: trains a run, or lets Hydra print a configuration or start a sweep; sets the exit code."""

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
from mlplab.errors import ConfigError, output_is_in_files, reported, say
from mlplab.runs import folder_lock


def launch(conf: Path) -> None:
    """Run the command line with the configuration in `conf`, and exit with the corresponding code."""
    ending = [number for number in startup.ending_signals() if number != signal.SIGINT]
    for number in ending:
        signal.signal(number, _terminated)
    words = sys.argv[1:]
    with reported(), _noted():
        if "install=bash" in words:  # Hydra's completion would run any script after `python`
            completion = Path(__file__).with_name("completion.bash").read_text(encoding="utf-8")
            print(f"_mlplab_train={shlex.quote(str(conf.with_name('train.py')))}\n{completion}")
            return
        given = _parsed(words)
        options = [word for word in words if word not in given.overrides]
        given.overrides = with_new_keys(given.overrides)
        asks = given.help or given.cfg or given.info or given.hydra_help or given.shell_completion
        if given.help:
            print(usage.text(given.overrides, conf))
        elif given.multirun or asks:
            _check(given, conf)
            sys.argv[1:] = _in_order(options, given.overrides)
            hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(_no_task)()
        else:
            job.run(given.overrides, conf)
        if not asks:
            output_is_in_files()  # of a run or a sweep
        for heard in [*ending, signal.SIGINT]:  # the work is done; a signal must not change the exit code
            signal.signal(heard, signal.SIG_IGN)


def _in_order(options: list[str], overrides: list[str]) -> list[str]:
    """Join options and overrides as Hydra accepts them: an option with a value must not precede an override."""
    is_sweep = options in (["-m"], ["--multirun"])
    return [*options, *overrides] if is_sweep else [*overrides, *options]


def _parsed(words: list[str]) -> Namespace:
    """Parse the overrides and options of a command line.

    Raises:
        ConfigError: for an unknown option, or options that cannot be combined.
    """
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign]
    given, unknown = parser.parse_known_intermixed_args(words)
    for word in unknown:
        key = word.lstrip("-").partition("=")[0].replace("-", "_")
        raise ConfigError(f"{word}: a key is given without dashes, as key=value{nearest(key)}")
    resumes = any(word.startswith("resume=") for word in given.overrides)
    named = [word for word in given.overrides if word.startswith(("sweep=", "search=")) and not word.endswith("=null")]
    is_named = named or "hydra.mode=MULTIRUN" in given.overrides
    given.multirun = given.multirun or bool(is_named and not given.cfg and not given.info)  # a named sweep needs no -m
    launchers = " ".join(word for word in given.overrides if word.startswith(("hydra/launcher", "hydra.launcher")))
    files = given.config_dir or given.config_name or given.config_path
    for holds, reason in (
        (sum(map(bool, (given.multirun, given.cfg, given.info))) > 1, "--cfg and --info: show one run; omit -m."),
        (given.resolve and not given.cfg, "--resolve: needs --cfg."),
        (given.package and not given.cfg, "--package: needs --cfg, and prints a part of it."),
        (given.experimental_rerun, "--experimental-rerun: not supported. Use resume=FOLDER to resume a run."),
        (files, "--config-dir, --config-name, --config-path: not supported. Add files with hydra.searchpath=[FOLDER]."),
        (resumes and given.cfg, "resume: the configuration of a run is in its folder, .hydra/config.yaml."),
        (
            launchers,
            f"{launchers}: not supported. Use jobs=N to run several jobs at once, or launcher=slurm for a cluster.",
        ),
        (len(named) > 1 or "," in "".join(named), f"{' '.join(named)}: choose only one per command"),
        (not _has_folder(), "The current folder has been deleted: change to another one."),
    ):
        if holds:
            raise ConfigError(reason)
    return given


def _refuse_option(message: str) -> NoReturn:
    raise ConfigError(f"{message}. All options: python train.py --hydra-help")


def _has_folder() -> bool:
    try:
        return Path.cwd().exists()
    except FileNotFoundError:
        return False


def _check(given: Namespace, conf: Path) -> None:
    """Raise ConfigError where Hydra would report an error itself; the values of a sweep are checked later."""
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
    """Record in status.json how the process ended, if a run has begun."""
    try:
        yield
    except BaseException as error:
        folder_lock.note_the_end(error)
        raise


def _no_task(composed: object) -> None:
    """Task function that Hydra requires but never calls: workers train the jobs of a sweep."""


def _terminated(number: int, frame: object) -> None:
    say("Terminated." if number == signal.SIGTERM else "The terminal was closed.")
    sys.exit(128 + number)
