#!/usr/bin/env python3
"""From a fault until every rank of every node is through an all_reduce that began after it, beside torchrun; no backoff.

    tests/bench/fault_bench.py --python .venv/bin/python                            gloo, 2 x 1, 2 x 2 and 4 x 2, all faults
    tests/bench/fault_bench.py --python PYTHON --backend nccl --shapes 2x1          a GPU for each rank
    tests/bench/fault_bench.py --python .venv/bin/python --faults link-30s,agent    some of the faults

Ranks are real ranks of torch in a loop of all_reduce. As root the agents are on nodes of their own (network namespaces, each
with its address, its host name and a cable); else they share the machine and meet over loopback, and the faults of cables are
left out. A fault hits the last node; the time counts from its end: from the kill or the stop of a rank, from the moment that
the cable is back or that the stopped agent goes on.

Most of what a restart takes is the import of torch, by all ranks at once on the same CPUs. So each shape is compared with one
agent of as many ranks whose rank is killed, in the same run: the last table. There the waiting that the fault's own settings
prescribe (grace, how long a rank may be stopped) is taken off first.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import launch_common as common

sys.path.insert(0, str(common.SOURCE / "tests/e2e"))
from lib import meeting, network  # noqa: E402

GRACE, STOPPED = 5, 3  # seconds: restart.grace and restart.stopped of the job file

# A rank's file holds when its last finished all_reduce began, and which process that was.
ALL_REDUCE = meeting.MEET + """
import time
torch.set_num_threads(1)
backend = os.environ["BACKEND"]
device = f"cuda:{os.environ['RANK']}" if backend == "nccl" else "cpu"
meet(backend)
value = torch.ones(1000, device=device)
stamp = os.open(f"{os.environ['OUT']}/rank.{os.environ['RANK']}", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        began = time.time_ns()
        dist.all_reduce(value)
        value.fill_(1)
        if device != "cpu":
            torch.cuda.synchronize()
        os.pwrite(stamp, f"{began:020d} {os.getpid():010d}".encode(), 0)
        time.sleep(0.01)
except RuntimeError:
    if "STAYS" in os.environ:  # gloo tells that a rank is gone; this one does not end of it
        time.sleep(1000)
    raise
"""


@dataclass
class Stamp:
    began: int
    pid: int


class Gang:
    """A launcher's agents whose ranks are in the loop."""

    def __init__(self, launcher, folder, nodes, ranks, fault, python, patience, nodes_network):
        (folder / "all_reduce.py").write_text(ALL_REDUCE)
        script = f'{fault.prologue}\nexec {python} -u "$OUT/all_reduce.py"'
        self.folder, self.nodes, self.ranks, self.patience, self.network = folder, nodes, ranks, patience, nodes_network
        self.run = common.Run(launcher, script, ranks, folder, nodes=nodes, restarts=5, network=nodes_network)

    def stamps(self):
        """Of each rank; of those that have one yet."""
        found = {}
        for rank in range(self.nodes * self.ranks):
            try:
                began, pid = (self.folder / f"rank.{rank}").read_text().split()
            except (OSError, ValueError):
                continue
            found[rank] = Stamp(int(began), int(pid))
        return found

    def wait_until_all_iterate(self, since, but_not):
        """All ranks are through an all_reduce that began after `since`, and none is a process of `but_not`."""
        def iterate():
            stamps = self.stamps()
            return len(stamps) == self.nodes * self.ranks and all(
                stamp.began > since and stamp.pid not in but_not for stamp in stamps.values())
        common.wait_until(iterate, self.patience, f"an all_reduce of all {self.nodes * self.ranks} ranks", self.run)

    def pids(self, node):
        return {stamp.pid for rank, stamp in self.stamps().items() if rank // self.ranks == node}


# --- the faults: each returns when it ended (nanoseconds), and which processes must be replaced -----------------------

def signal_rank(gang, number):
    pid = gang.stamps()[gang.nodes * gang.ranks - 1].pid
    os.kill(pid, number)
    return time.time_ns(), {pid}


def kill_rank(gang):
    return signal_rank(gang, signal.SIGKILL)


def stop_rank(gang):
    return signal_rank(gang, signal.SIGSTOP)


def kill_agent(gang, node=None):
    node = gang.nodes - 1 if node is None else node
    killed, pids = time.time_ns(), gang.pids(node)
    gang.run.agents[node].kill()
    gang.run.replace(node)
    return killed, pids


def kill_node_0(gang):
    return kill_agent(gang, 0)


def stop_agent(gang):
    agent = gang.run.agents[-1]
    agent.send_signal(signal.SIGSTOP)
    time.sleep(7)  # the fault's length: longer than the heartbeat time-out, 5 s
    agent.send_signal(signal.SIGCONT)
    return time.time_ns(), set()


def pull_cable(gang, seconds):
    gang.network.set_link(gang.nodes - 1, up=False)
    time.sleep(seconds)  # the fault's length
    gang.network.set_link(gang.nodes - 1, up=True)
    return time.time_ns(), set()


@dataclass
class Fault:
    name: str
    inject: object
    prescribed: float = 0  # seconds of waiting that the job's settings prescribe
    prologue: str = ""     # of the ranks' script
    cable: bool = False


GRANDCHILD = """setsid sh -c 'trap "" TERM; exec sleep 1000' </dev/null >/dev/null 2>&1 &"""
FAULTS = [
    Fault("rank", kill_rank),
    Fault("agent", kill_agent),
    Fault("node-0", kill_node_0),
    Fault("rank-stopped", stop_rank, prescribed=STOPPED),
    Fault("agent-stopped", stop_agent),
    Fault("ignores-term", kill_rank, prescribed=GRACE, prologue="export STAYS=1; trap '' TERM"),
    Fault("grandchild", kill_rank, prescribed=GRACE, prologue=GRANDCHILD),
    Fault("link-3s", lambda gang: pull_cable(gang, 3), cable=True),
    Fault("link-30s", lambda gang: pull_cable(gang, 30), cable=True),
]
BASE = FAULTS[0]  # on one agent


def measure(launcher, nodes, ranks, fault, args, namespaces):
    """Milliseconds."""
    nodes_network = network.Network(nodes) if namespaces else None
    with common.Folder() as folder:
        gang = Gang(launcher, folder, nodes, ranks, fault, args.python, args.patience, nodes_network)
        try:
            gang.wait_until_all_iterate(0, set())
            time.sleep(1)  # a gang at rest, as after hours of training
            ended, replaced = fault.inject(gang)
            gang.wait_until_all_iterate(ended, replaced)
            return (max(stamp.began for stamp in gang.stamps().values()) - ended) / 1e6
        finally:
            gang.run.end()
            if nodes_network:
                nodes_network.close()


def gpus(python):
    return int(subprocess.run([python, "-c", "import torch; print(torch.cuda.device_count())"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout)


def chosen_cases(args, namespaces):
    """(nodes, ranks, fault) in the order in which they are measured; first what they are compared with."""
    if args.once:
        return [(1, 2, BASE)]
    shapes = [tuple(map(int, shape.split("x"))) for shape in args.shapes.split(",")]
    if args.backend == "nccl":
        shapes = [shape for shape in shapes if shape[0] * shape[1] <= gpus(args.python)]
    names = args.faults.split(",")
    if unknown := set(names) - {fault.name for fault in FAULTS}:
        raise SystemExit(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in FAULTS)}")
    faults = [fault for fault in FAULTS if fault.name in names and (namespaces or not fault.cable)]
    totals = sorted({nodes * ranks for nodes, ranks in shapes})
    return [(1, total, BASE) for total in totals] + [(*shape, fault) for shape in shapes for fault in faults]


def main():
    args = common.arguments(__doc__, python=("", "interpreter of the ranks (default: that of .venv, or Debian's)"),
                            backend=("gloo", "of torch ranks: gloo or nccl"), shapes=("2x1,2x2,4x2", "agents x ranks"),
                            faults=(",".join(fault.name for fault in FAULTS), "which"), rounds=(1, "the median counts"),
                            patience=(120.0, "seconds to wait until all iterate"))
    venv = common.SOURCE / ".venv/bin/python"
    python = args.python or str(venv if venv.exists() else "/usr/bin/python3")
    args.python = os.path.abspath(shutil.which(python) or python)  # the ranks' folder is another one
    os.environ.update(BACKEND=args.backend)
    launchers = common.launchers(args)
    launchers[0].restart = {"grace": f"{GRACE}s", "stopped": f"{STOPPED}s"}
    reason = network.why_not()
    if reason:
        print(f"{reason}: all agents meet over loopback, and no cable is pulled", file=sys.stderr)
    elif args.backend == "nccl":
        os.environ.update(NCCL_SOCKET_IFNAME="eth0")
    cases = chosen_cases(args, not reason)
    # A fresh gang for each fault, and all take turns, so that whatever else the machine does hits all of them.
    measured = {}
    for _ in range(1 if args.once else args.rounds):
        for nodes, ranks, fault in cases:
            for launcher in launchers:
                key = (launcher, nodes, ranks, fault.name)
                if measured.get(key, []) is None:
                    continue
                label = f"{launcher.name}, {nodes} x {ranks}, {fault.name}"
                try:
                    measured.setdefault(key, []).append(measure(launcher, nodes, ranks, fault, args, not reason))
                    print(f"{label}: {measured[key][-1]:.0f} ms", flush=True)
                except RuntimeError as error:
                    measured[key] = None
                    print(f"{label}: {str(error)[-400:]}", flush=True)
    medians = {key: times and statistics.median(times) for key, times in measured.items()}
    names = [each.name for each in launchers]
    common.print_table("From the end of the fault until all ranks iterate", names,
                       [(f"{nodes} x {ranks}, {fault.name}", "ms",
                         [medians[each, nodes, ranks, fault.name] for each in launchers]) for nodes, ranks, fault in cases])

    def in_restarts(launcher, nodes, ranks, fault):
        value, base = medians[launcher, nodes, ranks, fault.name], medians[launcher, 1, nodes * ranks, BASE.name]
        return (value - fault.prescribed * 1000) / base if value and base else None
    rows = [(f"{nodes} x {ranks}, {fault.name}" + (f", less {fault.prescribed} s" if fault.prescribed else ""), "1",
             [in_restarts(each, nodes, ranks, fault) for each in launchers]) for nodes, ranks, fault in cases if nodes > 1]
    if rows:
        common.print_table("In restarts of one agent with as many ranks whose rank is killed", names, rows, ratios=False)
    if args.once and None in medians.values():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
