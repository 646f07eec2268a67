"""The agents of a gang, one per node of a Network, and what they said."""

import os
import re
import signal
import subprocess
import threading
import time

from . import processes

# What a platform, torchrun or an outer megalaunch may have set, and no test may inherit.
FOREIGN = re.compile(r"^(RANK|WORLD_SIZE|NODE_RANK|LOCAL_.*|MASTER_.*|GROUP_.*|ROLE_.*|OUTPUT_DIR|LOG_DIR|OMP_NUM_THREADS"
                     r"|TQ_.*|PET_.*|TORCHELASTIC_.*|MEGALAUNCH.*|SLURM_.*|KUBERNETES_.*|CUDA_VISIBLE_DEVICES)$")


def clean_environment():
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


class Agent:
    """A started agent. Its output is read by threads, so that it never blocks; each line carries the time it came."""

    def __init__(self, network, node, argv, env, cwd, read=True):
        self.network, self.node, self.argv = network, node, argv
        self.started = time.monotonic()
        self.ended = None
        self._lines = {"stdout": [], "stderr": []}
        pipe = subprocess.PIPE
        self.process = network.start(node, argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        self._threads = [threading.Thread(target=self._wait, daemon=True)]
        self._exited = threading.Event()
        if read:
            self._threads += [threading.Thread(target=self._read, args=(name,), daemon=True) for name in self._lines]
        for thread in self._threads:
            thread.start()

    def _read(self, name):
        with getattr(self.process, name) as pipe:
            for raw in pipe:
                self._lines[name].append((time.monotonic(), raw.decode(errors="replace").rstrip("\n")))

    def _wait(self):
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        self.ended = time.monotonic()
        self._exited.set()

    @property
    def pid(self):
        return self.process.pid

    def lines(self, *streams):
        return [line for name in streams or ("stdout", "stderr") for _, line in self._lines[name]]

    def text(self, *streams):
        return "\n".join(self.lines(*streams))

    def time_of(self, pattern):
        """When the first line that matches came, or None."""
        times = [when for name in self._lines for when, line in self._lines[name] if re.search(pattern, line)]
        return min(times, default=None)

    def wait_for(self, pattern, timeout=30):
        """Waits for a line that matches, and returns the match."""
        def look():
            return next((m for line in self.lines() if (m := re.search(pattern, line))), None)
        try:
            return processes.wait_until(lambda: look() or self._exited.is_set() and self._drained(), timeout, pattern) \
                and self._must(look(), pattern)
        except AssertionError as error:
            raise AssertionError(f"node {self.node}: {error}; it said:\n{self.text()}") from None

    def _drained(self):
        for thread in self._threads[1:]:
            thread.join(5)
        return True

    def _must(self, match, pattern):
        if match is None:
            raise AssertionError(f"it ended without saying {pattern!r}")
        return match

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """The exit status as a shell would see it: 128 + n when a signal ended the agent itself."""
        if not self._exited.wait(timeout):
            raise AssertionError(f"node {self.node}: still running after {timeout} s; it said:\n{self.text()}")
        code = self.process.wait()
        self._drained()
        return code if code >= 0 else 128 - code

    def is_running(self):
        return not self._exited.is_set()

    def ranks(self):
        """pid by local rank, of the live processes that the agent started as ranks."""
        found = {}
        for pid in self.network.processes(self.node):
            with_parent = _parent(pid) == self.pid and processes.is_alive(pid)
            rank = processes.environment(pid).get("LOCAL_RANK") if with_parent else None
            if rank is not None:
                found[int(rank)] = pid
        return found


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


class Gang:
    """Agents of one job, with the environment that the platform Tianqing gives: MASTER_ADDR is localhost on node 0 and its
    name elsewhere, WORLD_SIZE and RANK count nodes."""

    def __init__(self, network, argv, nodes, ranks, output, cwd, env=None, port=29500):
        self.network, self.argv, self.nodes, self.ranks = network, argv, nodes, ranks
        self.output, self.cwd, self.env, self.port = output, cwd, env or {}, port
        self.agents = {}

    def environment(self, node):
        return {**clean_environment(), "WORLD_SIZE": str(self.nodes), "RANK": str(node), "TQ_GPU_NUM": str(self.ranks),
                "MASTER_ADDR": "localhost" if node == 0 else "node0", "MASTER_PORT": str(self.port),
                "OUTPUT_DIR": str(self.output), **self.env}

    def start(self, node, env=None, argv=None, read=True, on=None):
        """Starts the agent of one node; `on` puts it on another node's machine."""
        agent = Agent(self.network, node if on is None else on, argv or self.argv,
                      {**self.environment(node), **(env or {})}, self.cwd, read)
        self.agents[node] = agent
        return agent

    def start_all(self):
        for node in range(self.nodes):
            self.start(node)
        return self

    def wait(self, timeout=120):
        """Exit status by node."""
        deadline = time.monotonic() + timeout
        return {node: agent.wait(max(0.1, deadline - time.monotonic())) for node, agent in sorted(self.agents.items())}

    def orphans(self):
        """Live processes on nodes whose agent has ended."""
        return [pid for node, agent in self.agents.items() if not agent.is_running()
                for pid in self.network.processes(agent.node)]

    def text(self):
        return "\n".join(f"--- node {node}\n{agent.text()}" for node, agent in sorted(self.agents.items()))

    def stop(self):
        """Ends what still runs, for a test that failed halfway."""
        for agent in self.agents.values():
            if agent.is_running():
                agent.signal(signal.SIGCONT)
                agent.signal(signal.SIGKILL)
            agent.wait(10)
