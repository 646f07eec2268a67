#!/usr/bin/env python3
"""From SIGKILL of one rank until every rank of every node runs again, beside torchrun; no backoff. Shapes are agents x ranks.

Ranks are plain shells, or with --all-reduce PYTHON real ranks of torch in a loop of all_reduce (gloo): then "runs again" means
that it has been through an all_reduce of its new life. All agents are on this machine and meet over loopback.
"""

import os
import signal
import time

import launch_common as common

# One file per life of a rank: its name has the pid, since launchers count restarts differently.
SHELL = 'date +%s%N >"$OUT/start.$RANK.$$"; exec sleep 600'
ALL_REDUCE = """
import os, time, datetime, torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=600))
value, first = torch.ones(1000), True
while True:
    dist.all_reduce(value)
    value.fill_(1)
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


def measure(launcher, nodes, ranks, rounds, script, patience):
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
                    victim = seen[total - 1][-1][1]
                    killed = time.time_ns()
                    os.kill(victim, signal.SIGKILL)
            return times
        finally:
            run.end()


def main():
    args = common.arguments(__doc__, rounds=(3, "restarts per shape; the median counts"),
                            all_reduce=("", "interpreter of torch ranks"), patience=(120.0, "seconds to wait for a restart"))
    launchers = common.launchers(args)
    rounds = 1 if args.once else args.rounds
    if args.all_reduce:
        script, shapes = f'exec {args.all_reduce} -u "$OUT/all_reduce.py"', [(1, 2), (2, 1), (2, 2), (4, 2)]
    else:
        script, shapes = SHELL, [(1, 8), (4, 2), (8, 1)]
    rows = []
    for nodes, ranks in [(1, 2)] if args.once else shapes:
        values = []
        for launcher in launchers:
            try:
                # Torch ranks get a fresh gang for each kill: what a second one costs depends on how the first one went.
                gangs, kills = (rounds, 1) if args.all_reduce else (1, rounds)
                times = [t for _ in range(gangs) for t in measure(launcher, nodes, ranks, kills, script, args.patience)]
                values.append(common.median(times))
            except RuntimeError as error:
                print(f"{launcher.name}, {nodes} x {ranks}: {str(error)[-400:]}")
                values.append(None)
        rows.append((f"{nodes} x {ranks}", "ms", values))
    common.print_table("SIGKILL of one rank until all ranks run again", [each.name for each in launchers], rows)
    if args.once and None in rows[0][2]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
