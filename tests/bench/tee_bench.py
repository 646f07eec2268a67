#!/usr/bin/env python3
"""What a launcher's logging costs: ranks write Megatron's lines as fast as they can; files and console get all of it.

Also a single rank with 1 GB, lines of 10 MB, bytes that are no text, progress bars, characters cut by any read, and how often the
agent wakes for 64 ranks that write a line a second. The console is a pipe that `wc -l` reads, which is faster than any launcher.
Beneath each stands what the machine gives at best. "into files alone": the same ranks without any launcher and console; no
launcher is faster. "cat of a file": what cat takes to bring one rank's file into the same pipe, with no word in front of a line; a
launcher has to do that and more, so that none burns less.
"""

import os
import random
import re
import subprocess
import time
from pathlib import Path

import launch_common as common

LINE = (" [2024-11-07 16:27:21] iteration     {:4d}/   11920 | consumed samples:         1024 | elapsed time per iteration (ms): "
        "12345.6 | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 9.090909E-07 | global batch size:  1024 | lm loss: "
        "1.218331E+01 | loss scale: 1.0 | grad norm: 31.404 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")


class Reader:
    """Takes all that comes over the console, and counts its lines."""

    def __init__(self, pipe):
        self.process = subprocess.Popen(["wc", "-l"], stdin=pipe, stdout=subprocess.PIPE, text=True)
        pipe.close()

    def lines(self):
        """Waits for the end of the console."""
        return int(self.process.communicate()[0])


def measure(launcher, ranks, data):
    """Seconds from the first rank's start to the agent's end, the agent's CPU seconds, and lines on the console."""
    script = 'date +%s%N >"$OUT/start.$RANK"; exec cat "$OUT/data"'
    with common.Folder() as folder:
        (folder / "data").write_bytes(data)
        run = common.Run(launcher, script, ranks, folder, stdout=subprocess.PIPE)
        try:
            agent, cpu = run.agents[0], 0.0
            reader = Reader(agent.stdout)
            stamps = common.wait_until(lambda: common.read_stamps(folder), 120, "a rank", run)
            before = common.cpu_seconds(agent.pid)
            while agent.poll() is None:
                try:
                    cpu = common.cpu_seconds(agent.pid) - before or cpu
                except OSError:
                    break
                time.sleep(0.01)
            agent.wait()
            seconds = time.time() - min(stamps.values()) / 1e9
            lines = reader.lines()
            run.check()
            return seconds, max(cpu, 0.0), lines
        finally:
            run.end()


def files_alone(ranks, data):
    """Seconds that the ranks take without a launcher, each into a file."""
    with common.Folder() as folder:
        (folder / "data").write_bytes(data)
        begin = time.monotonic()
        writers = [subprocess.Popen(["cat", folder / "data"], stdout=open(folder / f"rank.{rank}", "ab")) for rank in range(ranks)]
        if any([writer.wait() for writer in writers]):
            raise RuntimeError("cat failed")
        return time.monotonic() - begin


def cat_of_a_file(data):
    """CPU seconds of cat."""
    with common.Folder() as folder:
        (folder / "data").write_bytes(data)
        cat = subprocess.Popen(["cat", folder / "data"], stdout=subprocess.PIPE)
        reader = Reader(cat.stdout)
        reader.lines()
        _, status, used = os.wait4(cat.pid, 0)
        cat.returncode = os.waitstatus_to_exitcode(status)
        if cat.returncode:
            raise RuntimeError("cat failed")
        return used.ru_utime + used.ru_stime


def wake_ups(pid):
    """How often the threads of a process have waited and gone on."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)[1])
        except OSError:
            continue
    return total


def measure_idle(launcher, ranks, seconds):
    """Wake-ups and CPU milliseconds of the agent in a second in which each rank writes one line."""
    script = 'date +%s%N >"$OUT/start.$RANK"; while [ ! -e "$OUT/stop" ]; do echo "a line of rank $RANK"; sleep 1; done'
    with common.Folder() as folder:
        run = common.Run(launcher, script, ranks, folder, stdout=subprocess.PIPE)
        try:
            reader = Reader(run.agents[0].stdout)
            common.wait_until(lambda: len(common.read_stamps(folder)) == ranks, 300, "all ranks", run)
            time.sleep(2)
            pid = run.agents[0].pid
            before, cpu, begin = wake_ups(pid), common.cpu_seconds(pid), time.monotonic()
            time.sleep(seconds)
            passed = time.monotonic() - begin
            woken, burnt = wake_ups(pid) - before, common.cpu_seconds(pid) - cpu
            (folder / "stop").touch()
            run.agents[0].wait()
            reader.lines()
            run.check()
            return woken / passed, 1000 * burnt / passed
        finally:
            run.end()


def cases_of(usual, ranks, first_only):
    yield f"{ranks} ranks, {len(usual) / 1e6:.0f} MB each", ranks, usual
    if first_only:
        return
    yield "1 rank, 1 GB", 1, usual * (1_000_000_000 // len(usual))
    yield "2 ranks, lines of 10 MB", 2, (b"x" * 10_000_000 + b"\n") * 5
    yield "1 rank, one line of 10 MB without end", 1, b"x" * 10_000_000
    yield "8 ranks, bytes that are no text, 10 MB each", 8, random.Random(1).randbytes(10_000_000)
    bar = "".join(f"\r{i / 10:5.1f}%|{'█' * (i // 20):50}| {i}/1000" for i in range(1000)).encode() + b"\n"
    yield "8 ranks, progress bars, 10 MB each", 8, bar * (10_000_000 // len(bar))
    yield "8 ranks, characters of 2 to 4 bytes, 10 MB each", 8, ("损失函数 ä 😀 " * 21 + "\n").encode() * 25_000


def main():
    args = common.arguments(__doc__, ranks=(8, "ranks"), megabytes=(50, "per rank"), repeat=(3, "rounds of the first case; the quickest counts"))
    launchers = common.launchers(args)
    names = [launcher.name for launcher in launchers]
    size = (1 if args.once else args.megabytes) * 1_000_000
    text = "".join(LINE.format(i) for i in range(1000)).encode()
    usual = (text * (size // len(text) + 1))[:size]
    usual = usual[:usual.rindex(b"\n") + 1]
    for label, ranks, data in cases_of(usual, args.ranks, args.once):
        turns = args.repeat if data is usual else 1
        rounds = [[measure(launcher, ranks, data) for launcher in launchers] for _ in range(turns)]
        rows = [min(of_one) for of_one in zip(*rounds)]  # the quickest
        expected = (data.count(b"\n") + (not data.endswith(b"\n"))) * ranks
        common.print_table(
            label, names,
            [("console and files", "MB/s", [len(data) * ranks / 1e6 / row[0] for row in rows]),
             ("agent's CPU per GB", "s", [row[1] / (len(data) * ranks / 1e9) for row in rows]),
             ("lines on the console", "% of all", [100 * row[2] / expected for row in rows])])
        print(f"into files alone: {len(data) * ranks / 1e6 / files_alone(ranks, data):.0f} MB/s; "
              f"cat of a file: {cat_of_a_file(data) / (len(data) / 1e9):.3g} s of CPU per GB", flush=True)
    ranks, seconds = (2, 1) if args.once else (64, 10)
    rows = [measure_idle(launcher, ranks, seconds) for launcher in launchers]
    common.print_table(f"{ranks} ranks, a line a second each", names,
                       [("agent's wake-ups", "per second", [row[0] for row in rows]),
                        ("agent's CPU", "ms per second", [row[1] for row in rows])])


if __name__ == "__main__":
    main()
