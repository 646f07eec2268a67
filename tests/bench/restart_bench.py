#!/usr/bin/env python3
"""From SIGKILL of one rank until every rank of every node runs again, beside torchrun. Ranks are plain shells; no backoff.

All agents are on this machine and meet over loopback. Shapes are agents x ranks.
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
        run = common.Run(launcher, SCRIPT, ranks, folder, nodes=nodes, restarts=rounds + 1)
        try:
            for round_number in range(1, rounds + 2):
                seen = common.wait_until(lambda: all_have(lives(folder, total), round_number), 180,
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
    args = common.arguments(__doc__, rounds=(3, "restarts per shape; the median counts"))
    launchers = common.launchers(args)
    shapes = [(1, 2)] if args.once else [(1, 8), (4, 2), (8, 1)]
    rows = []
    for nodes, ranks in shapes:
        values = []
        for launcher in launchers:
            try:
                values.append(common.median(measure(launcher, nodes, ranks, 1 if args.once else args.rounds)))
            except RuntimeError as error:
                print(f"{launcher.name}, {nodes} x {ranks}: {error}")
                values.append(None)
        rows.append((f"{nodes} x {ranks}", "ms", values))
    common.print_table("SIGKILL of one rank until all ranks have started again", [l.name for l in launchers], rows)
    if args.once and None in rows[0][2]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
