#!/usr/bin/env python3
"""The example trains, on one node and on three, with the torch of the interpreter named on the command line."""

import json
import subprocess
import sys
import time
from pathlib import Path

from lib import case, training


class MainJob(case.GangTest):
    python = Path(sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1].startswith("/") else case.DEBIAN_PYTHON)

    @classmethod
    def setUpClass(cls):
        reason = case.why_no_torch(cls.python)
        if reason:
            cls.skip = reason

    skip = None

    def setUp(self):
        super().setUp()
        if self.skip:
            self.skipTest(self.skip)

    def assert_trained(self, gang, iterations=60):
        self.assert_codes(gang, 0, timeout=240)
        self.assert_no_orphans(gang)
        seen = training.losses(gang.agents[gang.nodes - 1].lines())  # the last rank prints them
        self.assertEqual(seen[-1][0], iterations, gang.text())
        self.assertLess(seen[-1][1], seen[0][1] - 0.5, "the loss goes down clearly")
        tracker = self.folder / "checkpoints" / "latest_checkpointed_iteration.txt"
        self.assertEqual(tracker.read_text(), str(iterations))

    def assert_reported(self, **settings):
        """The row of `megalaunch report LOGS/*`, the journal among them."""
        done = subprocess.run([case.megalaunch(), "report", "--format", "json", *(self.folder / "out" / "logs").iterdir()],
                              stdout=subprocess.PIPE, check=True)
        row, = json.loads(done.stdout)["runs"]
        self.assertEqual({name: row[name] for name in settings}, settings)
        self.assertAlmostEqual(row["tokens_per_second_per_gpu"] * row["ms_per_iteration"] / 1000,
                               row["gbs"] * row["seq"] / row["gpus"])

    def test_one_node_with_four_ranks(self):
        settings = ["--micro-batch-size", 3, "--seq-length", 64]
        gang = self.gang(training.job(self.python, self.folder, arguments=settings), nodes=1, ranks=4).start_all()
        self.assert_trained(gang)
        self.assert_reported(mbs=3, gbs=12, seq=64, gpus=4, outcome="ok")
        self.assertIn("using world size: 4", gang.text())
        run, = (self.folder / "out" / "logs").glob("*/attempt_0")
        self.assertEqual(sorted(p.relative_to(run).as_posix() for p in run.glob("0/*/*.log")),
                         [f"0/{rank}/{stream}.log" for rank in range(4) for stream in ("stderr", "stdout")])
        shown = [line.partition("] ")[2] for line in gang.agents[0].lines() if line.startswith("[0:3]")]
        kept = (run / "0/3/stdout.log").read_text().splitlines()
        self.assertEqual([line for line in shown if line in set(kept)], kept, "the console shows what the file has")

    def test_three_nodes_with_two_ranks_each_that_all_know_node_0_by_its_name(self):
        gang = self.gang(training.job(self.python, self.folder), nodes=3, ranks=2, env={"MASTER_ADDR": "node0"}).start_all()
        self.assert_trained(gang)
        self.assertIn("using world size: 6", gang.agents[0].text())

    def test_node_0_starts_20_seconds_late(self):
        gang = self.gang(training.job(self.python, self.folder), nodes=3, ranks=1)
        gang.start(1)
        gang.start(2)
        time.sleep(20)
        self.assertTrue(gang.agents[1].is_running() and gang.agents[2].is_running(), gang.text())
        self.assertEqual(gang.agents[1].ranks(), {}, "no rank starts before the gang is complete")
        gang.start(0)
        self.assert_trained(gang)

    def test_node_0_is_the_last_and_its_name_is_unknown_until_then(self):
        net = self.network(2)
        net.write_hosts(1, known=[1])
        gang = self.gang(training.job(self.python, self.folder), nodes=2, ranks=1, net=net)
        gang.start(1)
        time.sleep(2)
        net.write_hosts(1)
        gang.start(0)
        self.assert_trained(gang)


if __name__ == "__main__":
    case.main()
