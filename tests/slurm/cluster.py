"""A real Slurm on this machine: a controller and some nodes with GPUs that are only files, under one folder.

Nothing of it outlives `stop`, which ends by process id what `start` began.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Of nodes: their cores, their memory in MiB, and their GPUs by type, in the order of their numbers.
Nodes = Mapping[str, tuple[int, int, Mapping[str, int]]]
NODES: Nodes = {
    "large": (16, 262_144, {"a100_sxm": 4}),
    "small": (16, 262_144, {"l40s": 4}),
    "plain1": (8, 65_536, {}),
    "plain2": (8, 65_536, {}),
}

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")


def why_not() -> str:
    """Why there can be no Slurm here; empty where there can."""
    missing = [name for name in _PROGRAMS if program(name) is None]
    if missing:
        return f"Slurm is not installed here: there is no {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "a Slurm of several nodes on one machine needs root"


def program(name: str) -> str | None:
    """Where a program lies; those that daemons are made of lie where users do not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass
class Cluster:
    """One Slurm under a folder whose path is short, since sockets lie in it."""

    folder: Path
    nodes: Nodes = field(default_factory=lambda: NODES)
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What makes the commands of Slurm speak to this one."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Bring everything up and return once all nodes are idle."""
        for name in ("state", "spool", "log", "gres"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        for gpu in {
            f"{kind}{at}" for _, _, gpus in self.nodes.values() for kind, count in gpus.items() for at in range(count)
        }:
            # What is no character device is never shown to a step as a GPU of its own.
            os.mknod(self.folder / "gres" / gpu, 0o600 | 0o020000, os.makedev(1, 3))
        self._write_configuration()
        self._run("munge", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self._socket}",
                  f"--pid-file={self.folder / 'munge.pid'}", f"--log-file={self.folder / 'log/munge'}",
                  f"--seed-file={self.folder / 'munge.seed'}")  # fmt: skip
        _until(self._socket.exists, "munge")
        self._run("slurmctld", "slurmctld", "-D", "-i")
        for name in self.nodes:
            self.start_node(name)
        _until(lambda: self.states() == dict.fromkeys(self.nodes, "idle"), "the nodes")

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self._run(name, "slurmd", "-D", "-N", name)

    def drain_node(self, name: str, reason: str) -> None:
        """Have no more jobs start on a node."""
        self.call("scontrol", "update", f"nodename={name}", "state=drain", f"reason={reason}")

    def resume_node(self, name: str) -> None:
        """Have jobs start there again, and return once Slurm has seen that it answers."""
        self.call("scontrol", "update", f"nodename={name}", "state=resume")
        _until(lambda: self.states()[name] in ("idle", "mix", "alloc"), name)

    def kill_node(self, name: str) -> None:
        """End the daemon of a node as a crash does."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def stop(self) -> None:
        """End every daemon, the last that was started first."""
        self.call("scancel", "--user=root", check=False)
        _until(lambda: not self.call("squeue", "--noheader", check=False), "the jobs' ends", fails=False)
        for name in reversed([*self.daemons]):
            daemon = self.daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def states(self) -> dict[str, str]:
        """The state of each node, as `sinfo` says it in short."""
        said = self.call("sinfo", "--noheader", "--Node", "--format=%N %t", check=False)
        return {name: state for name, _, state in (line.partition(" ") for line in said.splitlines())}

    def call(self, *command: str, check: bool = True) -> str:
        """Run a command of Slurm and give what it prints."""
        done = subprocess.run(
            [program(command[0]) or command[0], *command[1:]],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    @property
    def _socket(self) -> Path:
        return self.folder / "munge.socket"

    def _run(self, name: str, command: str, *words: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program(command) or command, *words],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _write_configuration(self) -> None:
        host = socket.gethostname()
        controller, *ports = _free_ports(1 + len(self.nodes))
        lines = [
            "ClusterName=harmonia",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={controller}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self._socket}",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool/%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/%n.pid",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SlurmdParameters=config_overrides",
            "ReturnToService=2",
            "GresTypes=gpu",
            "MpiDefault=none",
            "SlurmdTimeout=15",
            "KillWait=10",
            "SchedulerParameters=sched_interval=2,bf_interval=2",
        ]
        gres = []
        for at, (name, (cores, memory, gpus)) in enumerate(self.nodes.items()):
            has = ",".join(f"gpu:{kind}:{count}" for kind, count in gpus.items())
            lines.append(
                f"NodeName={name} NodeAddr=127.0.0.{11 + at} NodeHostname={host} Port={ports[at]} "
                f"CPUs={cores} CoresPerSocket={cores} RealMemory={memory}{f' Gres={has}' if has else ''}"
            )
            gres += [
                f"NodeName={name} Name=gpu Type={kind} File={self.folder}/gres/{kind}[0-{count - 1}]"
                for kind, count in gpus.items()
            ]
        lines.append("PartitionName=main Nodes=ALL Default=YES State=UP MaxTime=INFINITE OverSubscribe=NO")
        (self.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _until(so: Callable[[], object], what: str, limit_s: float = 30.0, *, fails: bool = True) -> None:
    until = time.monotonic() + limit_s
    while not so():
        if time.monotonic() > until:
            assert not fails, f"{what} did not come within {limit_s:g} s"
            return
        time.sleep(0.1)
