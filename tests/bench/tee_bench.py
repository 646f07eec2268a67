#!/usr/bin/env python3
"""What a launcher's logging costs: ranks write Megatron's lines as fast as they can; files and console get all of it.

Also a single rank with 1 GB, and lines of 10 MB. The console is a pipe that is read without delay, and what arrives is counted.
"""

import subprocess
import threading
import time

import launch_common as common

LINE = (" [2024-11-07 16:27:21] iteration     {:4d}/   11920 | consumed samples:         1024 | elapsed time per iteration (ms): "
        "12345.6 | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 9.090909E-07 | global batch size:  1024 | lm loss: "
        "1.218331E+01 | loss scale: 1.0 | grad norm: 31.404 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")


class Reader(threading.Thread):
    """Counts what comes over the console."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.bytes, self.lines = pipe, 0, 0
        self.start()

    def run(self):
        while chunk := self.pipe.read1(1 << 20):
            self.bytes += len(chunk)
            self.lines += chunk.count(b"\n")


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
            reader.join()
            run.check()
            return seconds, max(cpu, 0.0), reader.lines
        finally:
            run.end()


def main():
    args = common.arguments(__doc__, ranks=(8, "ranks"), megabytes=(50, "per rank"))
    launchers = common.launchers(args)
    size = (1 if args.once else args.megabytes) * 1_000_000
    text = "".join(LINE.format(i) for i in range(1000)).encode()
    usual = (text * (size // len(text) + 1))[:size]
    usual = usual[:usual.rindex(b"\n") + 1]
    cases = [(f"{args.ranks} ranks, {size / 1e6:.0f} MB each", args.ranks, usual)]
    if not args.once:
        cases += [("1 rank, 1 GB", 1, usual * (1_000_000_000 // len(usual))),
                  ("2 ranks, lines of 10 MB", 2, (b"x" * 10_000_000 + b"\n") * 5)]
    for label, ranks, data in cases:
        rows = [measure(launcher, ranks, data) for launcher in launchers]
        expected = data.count(b"\n") * ranks
        common.print_table(
            label, [launcher.name for launcher in launchers],
            [("console and files", "MB/s", [len(data) * ranks / 1e6 / row[0] for row in rows]),
             ("agent's CPU per GB", "s", [row[1] / (len(data) * ranks / 1e9) for row in rows]),
             ("lines on the console", "% of all", [100 * row[2] / expected for row in rows])])


if __name__ == "__main__":
    main()
