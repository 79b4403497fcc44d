"""The command line: what surrounds a job of Hydra, which only this folder knows."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # of 1.3: what `hydra.main` parses the command line with
from hydra.errors import HydraException

from mlplab import system
from mlplab.cli import help, hydra_errors  # noqa: A004, F401  # conf/config.yaml asks for it
from mlplab.cli.compose import config_of
from mlplab.config.schema import Config
from mlplab.config.validation import nearest
from mlplab.errors import TRACEBACK_WANTED, ConfigError, reported, say
from mlplab.runs import folder as run_folder


def launch(main: Callable[[], object], conf: Path) -> None:
    """Run a function that `hydra.main` made of `conf`, and end the process with the exit code of what happened."""
    os.environ["MLPLAB_TRACEBACK"] = str(int(TRACEBACK_WANTED))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print before it ends with 1
    ending = [number for number in system.ending() if number != signal.SIGINT]
    for number in ending:
        signal.signal(number, _terminated)
    if "install=bash" in sys.argv:  # Hydra's would run every script that stands behind `python`
        completion = Path(__file__).with_name("completion.bash").read_text(encoding="utf-8")
        print(f"_mlplab_train={shlex.quote(str(conf.with_name('train.py')))}\n{completion}")
        return
    sys.argv[1:] = [_quoted(argument) for argument in sys.argv[1:]]
    with reported(), _noted(), _in_own_words(sys.argv[1:], conf):
        sys.argv[1:] = _options_first(sys.argv[1:])
        _refuse_what_leads_nowhere()
        main()
        for heard in [*ending, signal.SIGINT]:  # the work is done, and the exit code says so
            signal.signal(heard, signal.SIG_IGN)


def compose(overrides: list[str], conf: Path) -> Config:
    """The configuration of a run that is not to be trained.

    Raises:
        ConfigError: with a line for everything that is wrong.
    """
    with _in_own_words(overrides, conf), hydra.initialize_config_dir(str(conf), version_base="1.3"):
        return config_of(hydra.compose("config", overrides))


@contextmanager
def _noted() -> Iterator[None]:
    """However the process ends, status.json of the run that it began says so."""
    try:
        yield
    except BaseException as error:
        run_folder.note_the_end(error)
        raise


@contextmanager
def _in_own_words(overrides: list[str], conf: Path) -> Iterator[None]:
    """What Hydra refuses, as a ConfigError."""
    try:
        yield
    except HydraException as error:
        raise ConfigError("\n".join(hydra_errors.mistakes(error, overrides, conf))) from error
    except ValueError as error:
        if str(error).startswith("Only one of --"):
            raise ConfigError("--cfg and --info are of one run, and print it: leave -m, or the other, out.") from error
        if str(error).startswith("The --resolve flag"):
            raise ConfigError(f"{error}.") from error
        if "Config group override" not in str(error):
            raise
        raise ConfigError("\n".join(hydra_errors.not_choices(overrides, conf))) from error


def _terminated(number: int, frame: object) -> None:
    say("Terminated." if number == signal.SIGTERM else "The terminal was closed.")
    sys.exit(128 + number)


def _options_first(words: list[str]) -> list[str]:
    """`seed=1 -m data=digits` -> `-m seed=1 data=digits`: Hydra's parser wants all of key=value in one place.

    Raises:
        ConfigError: for what is no option of Hydra, or wrong with one.
    """
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign]
    given, unknown = parser.parse_known_intermixed_args(words)
    for word in unknown:
        key = word.lstrip("-").partition("=")[0].replace("-", "_")
        raise ConfigError(f"{word}: a key is given without dashes, as key=value{nearest(key)}")
    if given.package is not None and given.cfg is None:
        raise ConfigError("--package: says what of a configuration --cfg prints, and does nothing without it.")
    if given.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: not supported. A run goes on with resume=FOLDER.")
    return [*(word for word in words if word not in given.overrides), *given.overrides]


def _refuse_option(message: str) -> NoReturn:
    raise ConfigError(f"{message}. All options: python train.py --hydra-help")


def _refuse_what_leads_nowhere() -> None:
    run = next((argument for argument in sys.argv if argument.startswith("resume=")), None)
    if run and {"--cfg", "-c"} & set(sys.argv):
        raise ConfigError("resume: the configuration of a run is in its folder, .hydra/config.yaml.")
    grids = [word for word in sys.argv[1:] if word.startswith("sweep=")]
    if len(grids) > 1:  # Hydra would take the last one
        raise ConfigError(f"{' '.join(grids)}: one at a time: give a command for each")
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("The current folder has been deleted: change to another one.") from error


def _quoted(argument: str) -> str:
    """`resume` takes a path as it is: Hydra would stumble over = and , in the name of a folder."""
    key, _, value = argument.partition("=")
    if key != "resume" or value in ("", "null") or value[0] in "'\"":
        return argument
    return "resume='{}'".format(value.replace(os.sep, "/").replace("'", "\\'"))
