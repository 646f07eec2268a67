"""Shared by the launch benchmarks: the launchers that are compared, what /proc says of them, and the table."""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
FOREIGN = re.compile(r"^(RANK|WORLD_SIZE|LOCAL_.*|MASTER_.*|OUTPUT_DIR|TQ_.*|PET_.*|TORCHELASTIC_.*|MEGALAUNCH.*)$")


class Megalaunch:
    """`megalaunch run` of a command: job. `restart`: more for that section of the job file."""

    def __init__(self, binary, restart=None):
        self.binary = str(Path(binary).resolve())
        self.restart = restart or {}
        version = subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout.strip()
        self.name = f"megalaunch {version}"

    def command(self, ranks, folder, node=0, nodes=1, endpoint=("localhost", 0), restarts=0):
        job = folder / "job.yaml"
        if not job.exists():
            job.write_text(json.dumps({
                "version": 1, "name": "bench", "output": str(folder / "out"), "command": ["/bin/sh", str(folder / "rank.sh")],
                "restart": {"max": restarts, "backoff": "0s", "grace": "5s", **self.restart}}))
        return [self.binary, "run", str(job)]

    def environment(self, ranks, node, nodes, endpoint):
        return {"TQ_GPU_NUM": str(ranks), "WORLD_SIZE": str(nodes), "RANK": str(node), "MASTER_ADDR": endpoint[0],
                "MASTER_PORT": str(endpoint[1])}


class Torchrun:
    """torchrun with its c10d rendezvous, files and console both, as today's launch scripts start it."""

    def __init__(self, python):
        self.python = str(Path(python).absolute())  # not resolved: a venv is known by its link
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
        if probe.returncode != 0:
            raise RuntimeError(f"{python} has no torch: {probe.stderr.strip().splitlines()[-1]}")
        self.version = probe.stdout.strip()
        self.name = f"torchrun {self.version}"

    def command(self, ranks, folder, node=0, nodes=1, endpoint=("localhost", 0), restarts=0):
        # Debian's 1.13 cannot parse "3" under Python 3.11; 1 (stdout alone) takes another path through its code.
        tee = ["--redirects", "1", "--tee", "1"] if self.version.startswith("1.") else ["--redirects", "3", "--tee", "3"]
        return [self.python, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc_per_node={ranks}",
                "--rdzv_backend=c10d", "--rdzv_endpoint={}:{}".format(*endpoint), "--rdzv_id=bench", f"--max_restarts={restarts}",
                f"--log_dir={folder / 'logs' / str(node)}", *tee, "--no_python", "/bin/sh", str(folder / "rank.sh")]

    def environment(self, ranks, node, nodes, endpoint):
        return {}


class Run:
    """The started agents of one launcher; on the nodes of `network` (tests/e2e/lib), if there is one, else over loopback."""

    def __init__(self, launcher, script, ranks, folder, nodes=1, restarts=0, stdout=subprocess.DEVNULL, network=None):
        endpoint = (network.address(0), 29500) if network else ("localhost", free_port())
        clean = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
        self.agents, self.started = [], []
        self.folder = folder
        (folder / "rank.sh").write_text(script + "\n")

        def start(node):
            env = {**clean, "OUT": str(folder), **launcher.environment(ranks, node, nodes, endpoint)}
            argv = launcher.command(ranks, folder, node, nodes, endpoint, restarts)
            with open(folder / f"agent.{node}.err", "ab") as errors:
                # A process group and no session of its own: the kernel shares out the CPUs by session (autogroups), so
                # that on a busy machine several agents with a session each would get more than one.
                popen = {"env": env, "cwd": folder, "stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": errors,
                         "process_group": 0}
                return network.start(node, argv, **popen) if network else subprocess.Popen(argv, **popen)
        self.start_agent = start
        for node in range(nodes):
            self.started.append(time.time_ns())
            self.agents.append(start(node))

    def replace(self, node):
        """Starts an agent again that was killed."""
        self.agents[node].wait()
        self.agents[node] = self.start_agent(node)

    def check(self):
        for node, agent in enumerate(self.agents):
            if agent.poll():
                raise RuntimeError(f"agent {node} ended with {agent.returncode}:\n" +
                                   (self.folder / f"agent.{node}.err").read_text()[-3000:])

    def end(self):
        for agent in self.agents:
            if agent.poll() is None:
                agent.send_signal(signal.SIGTERM)
        for agent in self.agents:
            try:
                agent.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(agent.pid, signal.SIGKILL)
                agent.wait()
        self._kill_what_is_left()

    def _kill_what_is_left(self):
        """Ranks that outlived a killed agent: they have this run's folder in their environment."""
        mark = f"OUT={self.folder}".encode()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue


class Folder:
    """A temporary folder, removed at the end."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="megalaunch-bench-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until(condition, timeout, what, run):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        run.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.005)
    return value


def read_stamps(folder, pattern="start.*"):
    """Name -> nanoseconds, of the files that ranks wrote whole with `date +%s%N`."""
    found = {}
    for path in folder.glob(pattern):
        text = path.read_text().strip()
        if text.isdigit():
            found[path.name] = int(text)
    return found


def peak_memory_kib(pid):
    return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


def cpu_seconds(pid):
    """CPU time of one process: that of its living threads in nanoseconds, or, when more, that of all it had, in ticks."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return max(total / 1e9, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def median(values):
    return statistics.median(values)


def arguments(description, **extra):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalaunch", default=os.environ.get("MEGALAUNCH") or SOURCE / "build/release/megalaunch",
                        help="the binary to measure (default: $MEGALAUNCH, or that of the release build)")
    parser.add_argument("--torch", action="append", metavar="PYTHON",
                        help="an interpreter with torch, whose torchrun is run beside it; may be given several times "
                             "(default: Debian's, and that of .venv)")
    for name, (default, text) in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default, help=f"{text} (default: {default})")
    parser.add_argument("--once", action="store_true", help="one small round without torchrun, to see that it runs")
    return parser.parse_args()


def launchers(args):
    """The launchers to compare; those that are not there are named and left out."""
    chosen = [Megalaunch(args.megalaunch)]
    for python in [] if args.once else args.torch or ["/usr/bin/python3", SOURCE / ".venv/bin/python"]:
        try:
            chosen.append(Torchrun(python))
        except (OSError, RuntimeError) as error:
            print(f"left out: {error}", file=sys.stderr)
    return chosen


def print_table(title, names, rows, ratios=True):
    """rows: (label, unit, values by launcher); the ratio in brackets is to the first launcher. None: not measured."""
    print(f"\n{title}")
    width = max(len(row[0]) + len(row[1]) + 3 for row in rows)
    print(" " * width + "".join(f"{name:>26}" for name in names))
    for label, unit, values in rows:
        cells = ""
        for value in values:
            if value is None:
                cells += f"{'-':>26}"
                continue
            ratio = f" ({value / values[0]:.1f}x)" if ratios and value is not values[0] and values[0] else ""
            cells += f"{value:>{26 - len(ratio)}.4g}{ratio}"
        print(f"{label} [{unit}]".ljust(width) + cells)
    sys.stdout.flush()
