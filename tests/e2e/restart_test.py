#!/usr/bin/env python3
"""A failed rank or a lost agent starts the whole gang again where that can help, with the same generation everywhere."""

import json
import os
import signal
import time

from lib import case, processes, training

RESTART = {"restart": {"max": 3, "backoff": "0s", "grace": "2s"}}
REPORT_LIFE = 'echo "life $TORCHELASTIC_RESTART_COUNT of rank $RANK"; '


class Restarts(case.GangTest):
    def wait_for_life(self, gang, generation):
        for node, agent in gang.agents.items():
            for local in range(gang.ranks):
                rank = node * gang.ranks + local
                agent.wait_for(rf"\[{node}:{rank}\] life {generation} of rank {rank}$", 30)

    def shell_gang(self, script="exec sleep 1000", nodes=3, ranks=2, **rest):
        return self.gang({"command": case.sh(REPORT_LIFE + script), "launch": {"join_timeout": "20s"}, **RESTART, **rest},
                         nodes=nodes, ranks=ranks)

    def finish(self, gang):
        gang.agents[0].signal(signal.SIGTERM)
        self.assert_codes(gang, 143, timeout=20)
        self.assert_no_orphans(gang)

    def test_a_killed_rank_starts_all_ranks_of_all_nodes_again(self):
        gang = self.shell_gang().start_all()
        self.wait_for_life(gang, 0)
        for generation in (1, 2):
            before = {node: agent.ranks() for node, agent in gang.agents.items()}
            os.kill(before[1][0], signal.SIGKILL)
            self.wait_for_life(gang, generation)
            for node, agent in gang.agents.items():
                self.assertEqual(set(agent.ranks().values()) & set(before[node].values()), set(), "new processes")
        run, = (self.folder / "out" / "logs").glob("*/attempt_2")
        self.assertEqual((run / "2/1/stdout.log").read_text(), "life 2 of rank 5\n")
        report = json.loads((run.parent / "attempt_0" / "report.json").read_text())
        self.assertEqual((report["first"]["node_rank"], report["first"]["rank"]), (1, 2), report)
        self.finish(gang)

    def test_the_replacement_of_a_lost_agent_joins_and_all_start_again(self):
        gang = self.shell_gang().start_all()
        self.wait_for_life(gang, 0)
        gang.agents[2].signal(signal.SIGKILL)
        gang.agents[2].wait(10)
        for node in (0, 1):
            processes.wait_until(lambda node=node: not gang.agents[node].ranks(), 10, "the others to stop their ranks")
            self.assertTrue(gang.agents[node].is_running(), "the others wait for it")
        gang.start(2)
        self.wait_for_life(gang, 1)
        self.finish(gang)

    def test_the_replacement_of_node_0_continues_the_count_of_generations(self):
        gang = self.shell_gang().start_all()
        self.wait_for_life(gang, 0)
        os.kill(gang.agents[1].ranks()[0], signal.SIGKILL)
        self.wait_for_life(gang, 1)
        gang.agents[0].signal(signal.SIGKILL)
        gang.agents[0].wait(10)
        gang.start(0)
        self.wait_for_life(gang, 2)
        self.assertEqual(len([p for p in (self.folder / "out" / "logs").iterdir() if p.is_dir()]), 1, "it is the same run")
        self.finish(gang)

    def test_when_the_restarts_are_used_up_every_agent_ends_with_144(self):
        gang = self.shell_gang('[ "$RANK" != 3 ] || kill -KILL $$; exec sleep 1000').start_all()
        self.assert_codes(gang, 144, timeout=60)
        self.assert_no_orphans(gang)
        self.assertEqual(len(list((self.folder / "out" / "logs").glob("*/attempt_*"))), 4)

    def test_a_cause_that_a_retry_does_not_cure_ends_the_job_at_once(self):
        gang = self.shell_gang("""
            [ "$RANK" != 4 ] || { echo "ModuleNotFoundError: No module named 'flash_attn'" >&2; exit 1; }
            exec sleep 1000""").start_all()
        self.assert_codes(gang, 1, timeout=20)
        self.assert_no_orphans(gang)
        self.assertEqual(len(list((self.folder / "out" / "logs").glob("*/attempt_*"))), 1)
        for agent in gang.agents.values():
            self.assertIn("No module named 'flash_attn'", agent.text())

    def test_a_table_of_causes_of_ones_own_decides(self):
        rule = {"name": "our-storage", "kind": "data", "match": ["OurStore: lease expired"], "retries": 1,
                "advice": "Look at the storage dashboard."}
        (self.folder / "causes.yaml").write_text(json.dumps({"rules": [rule]}))
        gang = self.shell_gang('''
            [ "$RANK$TORCHELASTIC_RESTART_COUNT" != 20 ] || { echo "OurStore: lease expired" >&2; exit 9; }
            exit 0''', workdir=str(self.folder), restart={**RESTART["restart"], "causes": "causes.yaml"}).start_all()
        self.assert_codes(gang, 0, timeout=20)
        report, = (self.folder / "out" / "logs").glob("*/attempt_0/report.json")
        self.assertEqual(json.loads(report.read_text())["rule"], "our-storage")
        for agent in gang.agents.values():
            self.assertIn("Look at the storage dashboard.", agent.text())

    def test_the_wait_before_a_restart_is_the_backoff(self):
        gang = self.shell_gang(nodes=1, restart={"max": 3, "backoff": "2s", "grace": "2s"}).start_all()
        self.wait_for_life(gang, 0)
        killed = time.monotonic()
        os.kill(gang.agents[0].ranks()[0], signal.SIGKILL)
        self.wait_for_life(gang, 1)
        waited = gang.agents[0].time_of("life 1") - killed
        self.assertGreater(waited, 1.9)
        self.assertLess(waited, 4)
        self.finish(gang)

    def test_the_example_with_an_accident_recovers_from_its_checkpoint(self):
        if reason := case.why_no_torch(case.DEBIAN_PYTHON):
            self.skipTest(reason)
        job = (case.EXAMPLES / "gpt-killed.yaml").read_text()
        gang = self.gang(job, nodes=2, ranks=2, env={"PYTHON": str(case.DEBIAN_PYTHON)}).start_all()
        self.assert_codes(gang, 0, timeout=120)
        self.assert_no_orphans(gang)
        self.assertIn("successfully loaded checkpoint", gang.agents[0].text())
        self.assertIn("SIGKILL", gang.agents[0].text())
        seen = training.losses(gang.agents[1].lines())
        self.assertEqual(seen[-1][0], 60)
        self.assertLess(seen[-1][1], seen[0][1] - 0.5)


if __name__ == "__main__":
    case.main()
