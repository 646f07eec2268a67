#!/usr/bin/env python3
"""The console shows whole lines and all of them, and whoever reads it, or does not, never holds up a rank."""

import os
import re
import time

from lib import case, processes

LINES = 20000


class Console(case.GangTest):
    def logs(self):
        run, = (self.folder / "out" / "logs").glob("*/attempt_0")
        return run

    def test_every_line_of_every_rank_arrives_whole_and_in_order(self):
        writer = (f'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo "out $i of rank $RANK end"; '
                  f'[ $((i % 10)) != 0 ] || echo "err $i of rank $RANK end" >&2; done; printf "no newline at the end"')
        gang = self.run_gang({"command": case.sh(writer)}, nodes=2, ranks=2)
        self.assertEqual(set(self.codes.values()), {0}, gang.text()[-2000:])
        for node, agent in gang.agents.items():
            for local in range(2):
                rank = 2 * node + local
                mine = [line.partition("] ")[2] for line in agent.lines() if line.startswith(f"[{node}:{rank}]")]
                wanted = [f"out {i} of rank {rank} end" for i in range(1, LINES + 1)]
                self.assertTrue([line for line in mine if line.startswith("out")] == wanted, f"{len(mine)} lines: {mine[:9]}")
                wanted = [f"err {i} of rank {rank} end" for i in range(10, LINES + 1, 10)]
                self.assertTrue([line for line in mine if line.startswith("err")] == wanted, f"{len(mine)} lines: {mine[:9]}")
                self.assertIn("no newline at the end", mine)
                self.assertEqual(len(mine), LINES + LINES // 10 + 1)

    def test_stdout_and_stderr_of_ranks_stay_apart(self):
        gang = self.run_gang({"command": case.sh("echo good; echo bad >&2")}, nodes=1, ranks=1)
        self.assertIn("[0:0] good", gang.agents[0].lines("stdout"))
        self.assertIn("[0:0] bad", gang.agents[0].lines("stderr"))
        self.assertEqual((self.logs() / "0/0/stdout.log").read_text(), "good\n")
        self.assertEqual((self.logs() / "0/0/stderr.log").read_text(), "bad\n")

    def test_a_console_that_nobody_reads_never_blocks_a_rank(self):
        done = self.folder / "done"
        writer = f'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo "line $i of rank $RANK"; done; touch {done}.$RANK'
        gang = self.gang({"command": case.sh(writer)}, nodes=1, ranks=2)
        agent = gang.start(0, read=False)
        processes.wait_until(lambda: os.path.exists(f"{done}.0") and os.path.exists(f"{done}.1"), 60, "the ranks to finish")
        for rank in range(2):
            self.assertEqual(len((self.logs() / f"0/{rank}/stdout.log").read_text().splitlines()), LINES)
        # The reader comes late and still gets everything.
        text = agent.process.stdout.read().decode()
        self.assertEqual(len(re.findall(r"^\[0:[01]\] line \d+ of rank [01]$", text, re.M)), 2 * LINES)
        agent.process.stderr.close()
        self.assertEqual(agent.wait(30), 0)

    def test_a_console_that_is_never_read_does_not_keep_the_agent_for_ever(self):
        writer = f'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo "line $i of rank $RANK"; done; exit 4'
        gang = self.gang({"command": case.sh(writer), "restart": {"max": 0}}, nodes=1, ranks=1)
        agent = gang.start(0, read=False)
        self.assertEqual(agent.wait(60), 4)
        agent.process.stdout.close()
        agent.process.stderr.close()

    def test_a_console_that_was_closed_harms_nothing(self):
        writer = 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "line $i"; echo "line $i" >&2; done; exit 0'
        gang = self.gang({"command": case.sh(writer)}, nodes=1, ranks=2)
        agent = gang.start(0, read=False)
        agent.process.stdout.close()
        agent.process.stderr.close()
        self.assertEqual(agent.wait(60), 0)
        self.assertEqual(len((self.logs() / "0/1/stderr.log").read_text().splitlines()), 2000)

    def test_bytes_that_are_no_text_and_very_long_lines_pass(self):
        program = self.folder / "rank.py"
        program.write_text("import os\nos.write(1, b'a' * 3_000_000 + b'\\n'); os.write(1, b'\\xff\\xfe\\x00end\\n')\n")
        gang = self.run_gang({"command": ["/usr/bin/python3", str(program)]}, nodes=1, ranks=1)
        self.assertEqual(self.codes, {0: 0})
        self.assertEqual((self.logs() / "0/0/stdout.log").read_bytes(), b"a" * 3_000_000 + b"\n\xff\xfe\x00end\n")
        self.assertTrue(any(line.endswith("end") for line in gang.agents[0].lines("stdout")))
        self.assertEqual(sum(line.count("a") for line in gang.agents[0].lines("stdout")), 3_000_000)

    def test_collapsed_shows_the_same_line_of_several_ranks_once(self):
        gang = self.run_gang({"command": case.sh("echo same; echo own $RANK"), "logs": {"console": "collapsed"}}, nodes=1, ranks=8)
        self.assertEqual(set(self.codes.values()), {0}, gang.text())
        shown = [line for line in gang.agents[0].lines("stdout") if line.endswith(" same")]
        ranks = [rank for line in shown for rank in self.ranks_of(line)]
        self.assertEqual(sorted(ranks), list(range(8)))  # on a slow machine some may come too late for one line
        for rank in range(8):
            self.assertIn(f"[0:{rank}] own {rank}", gang.agents[0].lines("stdout"))

    @staticmethod
    def ranks_of(line):
        for part in re.match(r"\[0:([0-9,-]+)\]", line)[1].split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)

    def test_node_0_shows_chosen_ranks_of_other_nodes(self):
        go = self.folder / "go"
        wait = f"until [ -e {go} ]; do sleep 0.1; done"
        gang = self.gang({"command": case.sh(f"echo hello from $RANK; {wait}"), "logs": {"node_0_shows": [-1]}}, nodes=2, ranks=2)
        gang.start_all()
        gang.agents[0].wait_for(r"^\[1:3\] hello from 3$", timeout=60)
        go.touch()
        self.assert_codes(gang, 0)
        self.assertFalse([line for line in gang.agents[0].lines() if line.startswith("[1:2]")])

    def test_a_line_is_shown_while_the_rank_goes_on(self):
        gang = self.gang({"command": case.sh("echo early; exec sleep 1000")}, nodes=1, ranks=1)
        agent = gang.start(0)
        begin = time.monotonic()
        agent.wait_for(r"\[0:0\] early", timeout=10)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertTrue(agent.is_running())


if __name__ == "__main__":
    case.main()
