#!/usr/bin/env python3
"""Whoever is killed while all ranks write without pause, agent or rank: each rank's file ends with the last line that it wrote."""

import os
import re
import signal
import struct

from lib import case, processes

# Tells how many lines it has written through shared memory, which outlives any death. One store of eight bytes:
# struct.pack_into() first writes zeros, and the rank may die behind them.
WRITER = """
import ctypes, mmap, os, time
rank = os.environ["RANK"]
with open(f"{os.environ['COUNTS']}/{rank}", "r+b") as file:
    count = ctypes.c_uint64.from_buffer(mmap.mmap(file.fileno(), 8))
line = 0
while True:
    text = b"".join(b"line %d of rank %s %s\\n" % (line + i, rank.encode(), b"." * 80) for i in range(50))
    while text:
        text = text[os.write(1, text):]
    line += 50
    count.value = line
    if line >= int(os.environ["LINES"]):
        break
while not os.path.exists(f"{os.environ['COUNTS']}/stop"):
    time.sleep(0.05)
"""
RANKS = 8


class LastLines(case.GangTest):
    def start(self, lines=10**9, **job):
        """A gang of one node whose ranks have each written a good deal."""
        program = self.folder / "rank.py"
        program.write_text(WRITER)
        self.counts = self.folder / "counts"
        self.counts.mkdir()
        for rank in range(RANKS):
            (self.counts / str(rank)).write_bytes(bytes(8))
        self.gang_ = self.gang({"command": ["/usr/bin/python3", str(program)], "env": {"COUNTS": str(self.counts), "LINES": str(lines)},
                                "restart": {"max": 0}, **job}, nodes=1, ranks=RANKS)
        agent = self.gang_.start(0)
        processes.wait_until(lambda: all(self.written(rank) > 5000 for rank in range(RANKS)), 60, "all ranks to write")
        return agent

    def written(self, rank):
        return struct.unpack("<Q", (self.counts / str(rank)).read_bytes())[0]

    def folder_of(self, rank):
        run, = (self.folder / "out" / "logs").glob("*/attempt_0")
        return run / "0" / str(rank)

    def assert_ends_with_its_last_line(self, rank):
        """All lines are there, in order, up to the last write that had returned; of one more there may be a part."""
        text = (self.folder_of(rank) / "stdout.log").read_bytes()
        *lines, rest = text.split(b"\n")
        wanted = [b"line %d of rank %d %s" % (i, rank, b"." * 80) for i in range(len(lines))]
        self.assertTrue(lines == wanted, f"rank {rank}: lines are missing, doubled or mixed")
        self.assertTrue((b"line %d of rank %d %s" % (len(lines), rank, b"." * 80)).startswith(rest), rest)
        self.assertIn(len(lines) - self.written(rank), range(51), f"rank {rank} had written {self.written(rank)} lines")

    def test_kill_9_of_the_agent_under_full_load_on_all_ranks(self):
        agent = self.start()
        agent.signal(signal.SIGKILL)
        agent.wait(60)
        self.assert_no_orphans(self.gang_, within=60)
        for rank in range(RANKS):
            self.assert_ends_with_its_last_line(rank)

    def test_kill_9_of_a_rank_in_full_flow(self):
        agent = self.start()
        os.kill(agent.ranks()[3], signal.SIGKILL)
        agent.wait(120)
        self.assert_no_orphans(self.gang_, within=60)
        for rank in range(RANKS):  # the others are stopped in full flow, too
            self.assert_ends_with_its_last_line(rank)
        # And the console has seen it all, whatever its speed.
        mine = agent.lines("stdout")
        last = [int(re.match(r"\[0:3\] line (\d+) ", line)[1]) for line in mine if re.match(r"\[0:3\] line \d+ of rank 3 \.{80}$", line)]
        self.assertEqual(last, list(range(len(last))))
        self.assertGreaterEqual(len(last), self.written(3))

    def test_logs_with_a_cap_are_cut_under_full_load_without_a_loss(self):
        agent = self.start(lines=100_000, logs={"max_size": "1MiB", "keep": 100, "console": "none"})
        processes.wait_until(lambda: all((self.folder_of(rank) / "stdout.log.2").exists() for rank in range(RANKS)), 60,
                             "every log to be cut twice")
        (self.counts / "stop").touch()
        self.assertEqual(agent.wait(120), 0, agent.text())
        for rank in range(RANKS):
            folder, text = self.folder_of(rank), b""
            for number in range(100, 0, -1):
                part = folder / f"stdout.log.{number}"
                text += part.read_bytes() if part.exists() else b""
            with open(folder / "stdout.log", "rb") as file:
                file.seek(os.lseek(file.fileno(), 0, os.SEEK_DATA))  # behind the hole, where there is one
                text += file.read()
            self.assertTrue(text.splitlines() == [b"line %d of rank %d %s" % (i, rank, b"." * 80) for i in range(self.written(rank))])


if __name__ == "__main__":
    case.main()
