"""A SLURM cluster of one node on this machine, for as long as a command runs: `python cluster.py COMMAND ...`.

Everything it writes lies in a folder of its own, the sockets and ports are its own too, so that it neither meets a
cluster that is installed here nor what a killed one has left. It needs no root and no cgroups, so it runs in a
container; Debian's slurm-wlm and munge have to be installed.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CPUS = 3  # claimed, whatever the machine has: a job that sleeps or trains a tiny network needs no core of its own
START_SECONDS = 60
STOP_SECONDS = 15

# linuxproc follows a job's processes by their parents: without cgroups, it is what finds them in another session.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Yields the environment in which sbatch and the others talk to the cluster."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = _configured(folder)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        munge = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
        for name, *arguments in (
            ("munged", "--foreground", "--force", *munge),
            ("slurmctld", "-D", "-i"),
            ("slurmd", "-D"),
        ):
            stack.enter_context(_daemon(name, arguments, folder, environment))
            if name == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), "munged", folder)
        _wait(lambda: _said("sinfo --noheader --format=%T", environment) == "idle", "the node", folder)
        stack.callback(_cancel_all, environment)
        yield environment


def _configured(folder: Path) -> dict[str, str]:
    folder.chmod(0o755)  # munged requires a reachable socket
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    with socket.socket() as controller, socket.socket() as node:
        controller.bind(("127.0.0.1", 0))
        node.bind(("127.0.0.1", 0))
        ports = {"controller_port": controller.getsockname()[1], "node_port": node.getsockname()[1]}
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(host=host, user=getpass.getuser(), folder=folder, cpus=CPUS, **ports)
    (folder / "slurm.conf").write_text(text)
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))  # where Debian has the daemons
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
    return mine | {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf"), "MLPLAB_TEST_CLUSTER": "1"}


@contextmanager
def _daemon(name: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    program = shutil.which(name, path=environment["PATH"])
    if program is None:
        sys.exit(f"{name} is not installed: apt-get install slurm-wlm munge")
    with (folder / f"{name}.log").open("w") as log:
        alone = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
        # Ctrl-C is for the command; the daemons are needed to end its jobs, so they have a session of their own.
        process = subprocess.Popen([program, *arguments], env=environment, cwd=folder, **alone)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(condition: Callable[[], bool], what: str, folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > until:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
            sys.exit(f"{what} does not come up within {START_SECONDS} s.\n{logs}")
        time.sleep(0.2)


def _said(command: str, environment: dict[str, str]) -> str:
    try:
        asked = subprocess.run(command.split(), env=environment, capture_output=True, text=True, timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    return asked.stdout.strip()


def _cancel_all(environment: dict[str, str]) -> None:
    """A daemon that ends leaves the processes of its jobs running."""
    _said(f"scancel --user={getpass.getuser()}", environment)
    until = time.monotonic() + STOP_SECONDS
    while _said("squeue --noheader", environment) and time.monotonic() < until:
        time.sleep(0.2)


def _interrupted(number: int, frame: object) -> None:
    sys.exit(128 + number)  # so that the cluster is stopped


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    with cluster() as ready:
        sys.exit(subprocess.run(sys.argv[1:], env=ready).returncode)
