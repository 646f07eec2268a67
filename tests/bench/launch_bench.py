#!/usr/bin/env python3
"""Time, memory and idle CPU of a launcher that starts N ranks of /bin/sh on one node, beside torchrun.

Time is from the exec of the agent to the moment that the last rank writes down the clock.
"""

import time

import launch_common as common

SCRIPT = 'date +%s%N >"$OUT/start.$RANK"; exec sleep 600'


def measure(launcher, ranks, idle_seconds):
    with common.Folder() as folder:
        run = common.Run(launcher, SCRIPT, ranks, folder)
        try:
            stamps = common.wait_until(lambda: len(s := common.read_stamps(folder)) == ranks and s, 120, "all ranks", run)
            started = (max(stamps.values()) - run.started[0]) / 1e6
            pid = run.agents[0].pid
            time.sleep(1)  # what belongs to the start is over
            before = common.cpu_seconds(pid)
            time.sleep(idle_seconds)
            idle = (common.cpu_seconds(pid) - before) / idle_seconds * 100
            return started, common.peak_memory_kib(pid) / 1024, idle
        finally:
            run.end()


def main():
    args = common.arguments(__doc__, ranks=(8, "ranks"), repeat=(5, "rounds; the median counts"),
                            idle=(5.0, "seconds of idling"))
    launchers = common.launchers(args)
    rounds = 1 if args.once else args.repeat
    results = [[] for _ in launchers]
    for _ in range(rounds):
        for launcher, into in zip(launchers, results):  # in turn, so that the machine's mood meets all alike
            into.append(measure(launcher, args.ranks, 0.5 if args.once else args.idle))
    middle = [[common.median(column) for column in zip(*into)] for into in results]
    common.print_table(
        f"{args.ranks} ranks of /bin/sh on one node, median of {rounds}", [launcher.name for launcher in launchers],
        [("exec to the last rank's start", "ms", [m[0] for m in middle]),
         ("agent's peak memory", "MiB", [m[1] for m in middle]),
         ("agent's CPU while idle", "%", [m[2] for m in middle])])


if __name__ == "__main__":
    main()
