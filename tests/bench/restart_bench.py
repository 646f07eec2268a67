#!/usr/bin/env python3
"""From SIGKILL of one rank until every rank of every node runs again, beside torchrun; no backoff. Shapes are agents x ranks.

Ranks are plain shells, or with --all-reduce PYTHON real ranks of torch in a loop of all_reduce: then "runs again" means that
it has been through an all_reduce of its new life, and the last agent or node 0's is killed, too, and replaced at once. All
agents are on this machine and meet over loopback. --backend nccl gives each rank a GPU, and leaves out the shapes that this machine has too few for.

Most of what torch ranks take is the import of torch, by all of them at once on the same CPUs. So several agents are compared
with one agent of as many ranks, in the same run: the last table.
"""

import os
import signal
import subprocess
import time

import launch_common as common

# One file per life of a rank: its name has the pid, since launchers count restarts differently.
SHELL = 'date +%s%N >"$OUT/start.$RANK.$$"; exec sleep 600'
ALL_REDUCE = """
import os, time, datetime, torch, torch.distributed as dist
torch.set_num_threads(1)
backend = os.environ["BACKEND"]
device = f"cuda:{os.environ['RANK']}" if backend == "nccl" else "cpu"
dist.init_process_group(backend, timeout=datetime.timedelta(seconds=600))
value, first = torch.ones(1000, device=device), True
while True:
    dist.all_reduce(value)
    value.fill_(1)
    if device != "cpu":
        torch.cuda.synchronize()
    if first:
        name = f"{os.environ['OUT']}/start.{os.environ['RANK']}.{os.getpid()}"
        with open(name, "w") as file:
            file.write(str(time.time_ns()))
        first = False
    time.sleep(0.01)
"""


def lives(folder, ranks):
    """Start times by rank, earliest first."""
    by_rank = {rank: [] for rank in range(ranks)}
    for name, stamp in common.read_stamps(folder).items():
        _, rank, pid = name.split(".")
        by_rank[int(rank)].append((stamp, int(pid)))
    return {rank: sorted(stamps) for rank, stamps in by_rank.items()}


def all_have(seen, count):
    """`seen`, once every rank has started `count` times."""
    return seen if all(len(starts) >= count for starts in seen.values()) else None


def kill(run, fault, rank_pid):
    """Does what `fault` says, and when: nanoseconds."""
    killed = time.time_ns()
    if fault == "rank":
        os.kill(rank_pid, signal.SIGKILL)
    else:
        node = 0 if fault == "node 0" else len(run.agents) - 1
        run.agents[node].kill()
        run.replace(node)
    return killed


def measure(launcher, nodes, ranks, rounds, script, patience, fault):
    """Milliseconds of each round."""
    total, times = nodes * ranks, []
    with common.Folder() as folder:
        (folder / "all_reduce.py").write_text(ALL_REDUCE)
        run = common.Run(launcher, script, ranks, folder, nodes=nodes, restarts=rounds + 2)
        try:
            for round_number in range(1, rounds + 2):
                seen = common.wait_until(lambda: all_have(lives(folder, total), round_number), patience,
                                         f"life {round_number} of all {total} ranks", run)
                if round_number > 1:
                    times.append((max(v[-1][0] for v in seen.values()) - killed) / 1e6)
                if round_number <= rounds:
                    time.sleep(1)  # a gang at rest, as after hours of training
                    killed = kill(run, fault, seen[total - 1][-1][1])
            return times
        finally:
            run.end()


def gpus(python):
    return int(subprocess.run([python, "-c", "import torch; print(torch.cuda.device_count())"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout)


def ratio(value, base):
    return value / base if value and base else None


def main():
    args = common.arguments(__doc__, rounds=(3, "restarts per shape; the median counts"),
                            all_reduce=("", "interpreter of torch ranks"), backend=("gloo", "of torch ranks: gloo or nccl"),
                            patience=(120.0, "seconds to wait for a restart"))
    launchers = common.launchers(args)
    rounds = 1 if args.once else args.rounds
    if args.all_reduce:
        script = f'exec {args.all_reduce} -u "$OUT/all_reduce.py"'
        shapes = [(1, 1, "rank"), (1, 2, "rank"), (2, 1, "rank"), (2, 1, "agent"), (2, 1, "node 0"), (1, 4, "rank"),
                  (2, 2, "rank"), (2, 2, "agent"), (2, 2, "node 0"), (1, 8, "rank"), (4, 2, "rank"), (4, 2, "agent"),
                  (4, 2, "node 0")]
        if args.backend == "nccl":
            shapes = [shape for shape in shapes if shape[0] * shape[1] <= gpus(args.all_reduce)]
        else:
            shapes.remove((1, 1, "rank"))
        os.environ["BACKEND"] = args.backend
    else:
        script, shapes = SHELL, [(1, 8, "rank"), (4, 2, "rank"), (8, 1, "rank")]
    shapes = [(1, 2, "rank")] if args.once else shapes
    # Torch ranks get a fresh gang for each kill: what a second one costs depends on how the first one went. And shapes take
    # turns, so that whatever else the machine does hits all of them.
    turns, kills = (rounds, 1) if args.all_reduce else (1, rounds)
    measured = {(launcher, shape): [] for launcher in launchers for shape in shapes}
    for launcher, shape in [key for _ in range(turns) for key in measured]:
        times = measured[launcher, shape]
        if times is None:
            continue
        nodes, ranks, fault = shape
        try:
            times += measure(launcher, nodes, ranks, kills, script, args.patience, fault)
        except RuntimeError as error:
            print(f"{launcher.name}, {nodes} x {ranks}, {fault} killed: {str(error)[-400:]}", flush=True)
            measured[launcher, shape] = None
        else:
            print(f"{launcher.name}, {nodes} x {ranks}, {fault} killed: {times[-1]:.0f} ms", flush=True)
    medians = {key: common.median(times) if times else None for key, times in measured.items()}
    names = [each.name for each in launchers]
    rows = [(f"{nodes} x {ranks}, {fault} killed", "ms", [medians[each, (nodes, ranks, fault)] for each in launchers])
            for nodes, ranks, fault in shapes]
    common.print_table("SIGKILL until all ranks run again", names, rows)
    ratios = [(f"{nodes} x {ranks}, {fault} killed, to 1 x {nodes * ranks}", "1",
               [ratio(medians[each, (nodes, ranks, fault)], medians[each, (1, nodes * ranks, "rank")]) for each in launchers])
              for nodes, ranks, fault in shapes if nodes > 1 and (1, nodes * ranks, "rank") in shapes]
    if ratios:
        common.print_table("The same, in multiples of one agent with as many ranks whose rank is killed", names, ratios)
    if args.once and None in rows[0][2]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
