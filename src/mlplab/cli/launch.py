"""Entry point of train.py: trains one run, or lets Hydra print or begin a sweep, and sets the exit code."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlplab import system
from mlplab.cli import job, usage
from mlplab.cli.compose import composing
from mlplab.config.validation import nearest
from mlplab.errors import ConfigError, reported, say
from mlplab.runs import folder as run_folder

HELP, MULTIRUN, CFG, INFO = {"-h", "--help"}, {"-m", "--multirun"}, {"-c", "--cfg"}, {"-i", "--info"}
TAKE_A_VALUE = CFG | INFO | {"-p", "--package"}
WITHOUT_CONFIGURATION = {"--hydra-help", "--version", "-sc", "--shell-completion"}
OPTIONS = HELP | MULTIRUN | TAKE_A_VALUE | {"--resolve"} | WITHOUT_CONFIGURATION  # of Hydra


def launch(conf: Path) -> None:
    """Do what the command line says with the configuration in `conf`, and exit with the code of what happened."""
    ending = [number for number in system.ending() if number != signal.SIGINT]
    for number in ending:
        signal.signal(number, _terminated)
    words = sys.argv[1:]
    if "install=bash" in words:  # Hydra's would run every script that stands behind `python`
        completion = Path(__file__).with_name("completion.bash").read_text(encoding="utf-8")
        print(f"_mlplab_train={shlex.quote(str(conf.with_name('train.py')))}\n{completion}")
        return
    with reported(), _noted():
        overrides, options = _split(words)
        names = {option.partition("=")[0] for option in options}
        _refuse_what_leads_nowhere(words, names)
        if names & HELP:
            print(usage.text(overrides, conf))
        elif options:
            _check(overrides, names, conf)
            sys.argv[1:] = [*overrides, *options]  # Hydra takes no option between overrides
            hydra.main(version_base="1.3", config_path=str(conf), config_name="config")(job.job_of_sweep)()
        else:
            job.run(overrides, conf)
        for heard in [*ending, signal.SIGINT]:  # the work is done, and the exit code says so
            signal.signal(heard, signal.SIG_IGN)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Separate overrides from options with their values, which may stand between them."""
    options = {
        place
        for place, word in enumerate(words)
        if word.startswith("-") or ("=" not in word and place and words[place - 1] in TAKE_A_VALUE)
    }
    overrides = [word for place, word in enumerate(words) if place not in options]
    return overrides, [words[place] for place in sorted(options)]


def _check(overrides: list[str], options: set[str], conf: Path) -> None:
    """Raise ConfigError for what Hydra would refuse in its own words; the values of a sweep are checked by it."""
    if options & WITHOUT_CONFIGURATION:
        return
    fixed = overrides
    if options & MULTIRUN:
        with composing(overrides, conf):
            parsed = OverridesParser.create().parse_overrides(overrides)
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


def _terminated(number: int, frame: object) -> None:
    say("Terminated." if number == signal.SIGTERM else "The terminal was closed.")
    sys.exit(128 + number)


def _refuse_what_leads_nowhere(words: list[str], options: set[str]) -> None:
    for word in words:
        key = word.partition("=")[0]
        if word.startswith("-") and not any(option.startswith(key) for option in OPTIONS):
            close = nearest(key.lstrip("-").replace("-", "_"))
            raise ConfigError(f"{word}: a key is given without dashes, as key=value{close}")
    if sum(bool(options & names) for names in (MULTIRUN, CFG, INFO)) > 1:
        raise ConfigError("--cfg and --info are of one run, and print it: leave -m, or the other, out.")
    if "--resolve" in options and not options & CFG:
        raise ConfigError("--resolve: needs --cfg.")
    resumes = any(word.startswith("resume=") for word in words)
    if resumes and options & CFG:
        raise ConfigError("resume: the configuration of a run is in its folder, .hydra/config.yaml.")
    if resumes and options & MULTIRUN:
        raise ConfigError("resume: takes one run, without -m.")
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("The current folder has been deleted: change to another one.") from error
