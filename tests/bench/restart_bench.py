#!/usr/bin/env python3
"""From SIGKILL of one rank until every rank of every node has started again, beside torchrun; no backoff.

Ranks are plain shells: what torch ranks take besides is in fault_bench.py. Shapes are agents x ranks; all agents are on this
machine and meet over loopback.
"""

import os
import signal
import time

import launch_common as common

# One file per life of a rank: its name has the pid, since launchers count restarts differently.
SCRIPT = 'date +%s%N >"$OUT/start.$RANK.$$"; exec sleep 600'


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


def measure(launcher, nodes, ranks, rounds):
    """Milliseconds of each round."""
    total, times = nodes * ranks, []
    with common.Folder() as folder:
        run = common.Run(launcher, SCRIPT, ranks, folder, nodes=nodes, restarts=rounds + 2)
        try:
            for round_number in range(1, rounds + 2):
                seen = common.wait_until(lambda: all_have(lives(folder, total), round_number), 120,
                                         f"life {round_number} of all {total} ranks", run)
                if round_number > 1:
                    times.append((max(v[-1][0] for v in seen.values()) - killed) / 1e6)
                if round_number <= rounds:
                    time.sleep(1)  # a gang at rest, as after hours of training
                    killed = time.time_ns()
                    os.kill(seen[total - 1][-1][1], signal.SIGKILL)
            return times
        finally:
            run.end()


def main():
    args = common.arguments(__doc__, rounds=(3, "restarts per shape; the median counts"))
    launchers = common.launchers(args)
    rounds = 1 if args.once else args.rounds
    shapes = [(1, 2)] if args.once else [(1, 8), (4, 2), (8, 1)]
    medians = {}
    for nodes, ranks in shapes:
        for launcher in launchers:
            try:
                medians[launcher, nodes] = common.median(measure(launcher, nodes, ranks, rounds))
            except RuntimeError as error:
                print(f"{launcher.name}, {nodes} x {ranks}: {str(error)[-400:]}", flush=True)
                medians[launcher, nodes] = None
    common.print_table("SIGKILL of a rank until all ranks run again", [launcher.name for launcher in launchers],
                       [(f"{nodes} x {ranks}", "ms", [medians[launcher, nodes] for launcher in launchers])
                        for nodes, ranks in shapes])
    if args.once and None in medians.values():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
