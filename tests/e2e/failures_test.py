#!/usr/bin/env python3
"""What happens on every node when something ends that should not: a rank, an agent, or the job on request."""

import json
import os
import re
import signal
import time

from lib import case, processes

GRACE = 3
HEARTBEAT = 3
ONCE = {"restart": {"max": 0, "grace": f"{GRACE}s"}}


def job(script, **rest):
    return {"command": case.sh(script), **ONCE, **rest}


def all_ranks_up(gang):
    def ready():
        return all(len(agent.ranks()) == gang.ranks for agent in gang.agents.values())
    processes.wait_until(ready, 30, "all ranks of all nodes")


class Failures(case.GangTest):
    def assert_quick(self, gang, since, limit):
        for node, agent in gang.agents.items():
            self.assertLess(agent.ended - since, limit, f"node {node} took too long\n{gang.text()}")

    def test_the_status_of_the_failed_rank_is_that_of_every_agent(self):
        gang = self.gang(job("""
            if [ "$RANK" = 3 ]; then
                for n in 1 2 3; do echo "reason $n of rank 3" >&2; done
                until [ -e %s/go ]; do sleep 0.01; done
                exit 7
            fi
            exec sleep 1000""" % self.folder), nodes=3, ranks=2).start_all()
        all_ranks_up(gang)
        begin = time.monotonic()
        (self.folder / "go").touch()
        self.assert_codes(gang, 7)
        self.assert_quick(gang, begin, 1 + GRACE)
        self.assert_no_orphans(gang)
        for agent in gang.agents.values():
            said = agent.text()
            self.assertRegex(said, r"(?i)rank 3\b", "names the rank")
            self.assertRegex(said, r"(?i)node ?1\b", "names the node")
            self.assertRegex(said, r"(?i)code 7\b", "names the code")
            self.assertIn("reason 3 of rank 3", said, "shows the end of its stderr")

    def test_sigterm_at_any_time_of_the_start_ends_node_0(self):
        for milliseconds in (0, 2, 4, 5, 6, 8, 12, 20, 40):
            gang = self.gang(job("exec sleep 1000"), nodes=2, ranks=1)
            agent = gang.start(0)
            time.sleep(milliseconds / 1000)
            agent.signal(signal.SIGTERM)
            self.assertIn(agent.wait(20), (143, -signal.SIGTERM), f"{milliseconds} ms after its start: {agent.text()}")

    def test_sigterm_while_the_job_file_is_read_is_not_lost(self):
        job_file = self.folder / "fifo.yaml"
        os.mkfifo(job_file)
        gang = self.gang_of([case.megalaunch(), "run", job_file], nodes=1, ranks=1)
        agent = gang.start(0)
        with open(job_file, "w") as file:  # once it reads
            agent.signal(signal.SIGTERM)
            file.write(json.dumps({"version": 1, "name": "test", "output": str(self.folder / "out"), "command": case.sh("echo ran")}))
        self.assertEqual(agent.wait(20), 143, agent.text())
        self.assertNotIn("] ran", agent.text())

    def test_a_rank_that_ignores_sigterm_costs_the_grace_and_no_more(self):
        gang = self.gang(job("""
            if [ "$RANK" = 0 ]; then sleep 1; exit 9; fi
            trap '' TERM
            while :; do sleep 0.1; done"""), nodes=2, ranks=1).start_all()
        all_ranks_up(gang)
        self.assert_codes(gang, 9)
        self.assert_quick(gang, gang.agents[0].started, 1 + GRACE + 2)
        self.assert_no_orphans(gang)

    def test_a_rank_that_a_signal_ended_is_named_with_the_signal(self):
        for number, name in ((signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")):
            with self.subTest(name):
                gang = self.gang(job("exec sleep 1000"), nodes=2, ranks=2).start_all()
                all_ranks_up(gang)
                os.kill(gang.agents[1].ranks()[0], number)
                codes = gang.wait()
                self.assertEqual(len(set(codes.values())), 1, f"one status everywhere: {codes}")
                self.assertIn(codes[0], (1, 144), gang.text())
                for agent in gang.agents.values():
                    self.assertIn(name, agent.text())
                    self.assertRegex(agent.text(), r"(?i)rank 2\b")
                self.assert_no_orphans(gang)

    def test_a_stopped_rank_is_said_at_once_and_fails_when_it_does_not_go_on(self):
        settings = {"restart": {"max": 1, "backoff": "0s", "grace": f"{GRACE}s", "stopped": "2s"}}
        script = '[ "$TORCHELASTIC_RESTART_COUNT" = 1 ] && exit 0; trap "exit 0" TERM; while :; do sleep 0.1; done'
        gang = self.gang({"command": case.sh(script), **settings}, nodes=2, ranks=2).start_all()
        all_ranks_up(gang)
        pid = gang.agents[1].ranks()[1]
        begin = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        for agent in gang.agents.values():
            agent.wait_for(rf"rank 3 .*pid {pid}\b.*node 1\b.*SIGSTOP")
            agent.wait_for(r"generation 1: started")
        # From the stop on, not from the kill after a grace: its handler of SIGTERM is reached.
        self.assertLess(time.monotonic() - begin, 2 + GRACE)
        self.assert_codes(gang, 0)
        for agent in gang.agents.values():
            self.assertRegex(agent.text(), r"rule paused")
        self.assert_no_orphans(gang)

    def test_descendants_that_left_the_process_group_end_with_their_rank(self):
        gang = self.gang(job("""
            setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done' &
            ( setsid setsid sleep 1000 & ) &
            sleep 1; exit 5"""), nodes=1, ranks=2).start_all()
        self.assert_codes(gang, 5)
        self.assert_no_orphans(gang)

    def test_of_a_killed_agent_no_rank_lives_one_second_later_and_the_others_say_who_was_lost(self):
        gang = self.gang(job("exec sleep 1000", launch={"join_timeout": "2s"}), nodes=3, ranks=2).start_all()
        all_ranks_up(gang)
        lost = gang.agents[1]
        lost.signal(signal.SIGKILL)
        processes.wait_until(lambda: not gang.network.processes(1), 1, "the ranks of the killed agent to end")
        for node in (0, 2):
            processes.wait_until(lambda node=node: not gang.agents[node].ranks(), 5 + GRACE, f"node {node} to stop its ranks")
            gang.agents[node].wait_for(r"(?i)(lost.*node ?1\b|node ?1\b.*lost)")
        codes = {node: gang.agents[node].wait(30) for node in (0, 2)}
        self.assertEqual(len(set(codes.values())), 1, f"{codes}\n{gang.text()}")
        self.assertGreaterEqual(codes[0], 128, "the platform may try again")
        self.assert_no_orphans(gang)

    def test_when_node_0s_agent_is_killed_the_others_stop_their_ranks_and_say_so(self):
        gang = self.gang(job("exec sleep 1000", launch={"join_timeout": "2s"}), nodes=3, ranks=2).start_all()
        all_ranks_up(gang)
        gang.agents[0].signal(signal.SIGKILL)
        processes.wait_until(lambda: not gang.network.processes(0), 1, "the ranks of node 0 to end")
        for node in (1, 2):
            processes.wait_until(lambda node=node: not gang.agents[node].ranks(), 5 + GRACE, f"node {node} to stop its ranks")
            gang.agents[node].wait_for(r"(?i)node 0")
            self.assertEqual(gang.agents[node].wait(30), 145, gang.text())
        self.assert_no_orphans(gang)

    def test_a_sigterm_to_any_agent_stops_the_job_gracefully_everywhere(self):
        for target in (0, 2):
            with self.subTest(f"node {target}"):
                gang = self.gang(job("""
                    trap 'echo saving; sleep 0.5; echo saved $RANK; exit 0' TERM
                    while :; do sleep 0.05; done"""), nodes=3, ranks=2).start_all()
                all_ranks_up(gang)
                time.sleep(0.5)  # the shells install their traps
                gang.agents[target].signal(signal.SIGTERM)
                self.assert_codes(gang, 143, timeout=20)
                said = gang.text()
                for rank in range(6):
                    self.assertIn(f"saved {rank}", said)
                self.assert_no_orphans(gang)

    def test_an_interrupt_is_told_from_a_termination(self):
        gang = self.gang(job("exec sleep 1000"), nodes=2, ranks=1).start_all()
        all_ranks_up(gang)
        gang.agents[1].signal(signal.SIGINT)
        self.assert_codes(gang, 130, timeout=20)
        self.assert_no_orphans(gang)

    def test_a_second_sigterm_ends_it_now(self):
        stubborn = job("trap '' TERM; while :; do sleep 0.05; done")
        stubborn["restart"] = {"max": 0, "grace": "100s"}
        gang = self.gang(stubborn, nodes=2, ranks=1).start_all()
        all_ranks_up(gang)
        time.sleep(0.5)
        gang.agents[0].signal(signal.SIGTERM)
        time.sleep(1)
        self.assertTrue(gang.agents[0].is_running(), "it waits for the grace")
        gang.agents[0].signal(signal.SIGTERM)
        self.assert_codes(gang, 143, timeout=5)
        self.assert_no_orphans(gang)

    def test_a_rank_that_a_full_disk_made_mute_is_said_to_be_so(self):
        logs = self.folder / "logs"
        logs.mkdir()
        if os.system(f"mount -t tmpfs -o size=512k tmpfs {logs}") != 0:
            self.skipTest("cannot mount a small file system here")
        self.addCleanup(os.system, f"umount -l {logs}")
        fill = "while echo 0123456789012345678901234567890123456789; do :; done 2>/dev/null; echo lost >&2; exit 1"
        gang = self.gang(job(fill, logs={"dir": str(logs), "console": "errors"}), nodes=1, ranks=1).start_all()
        self.assert_codes(gang, 1, timeout=30)
        self.assertIn("no space left on the disk of its logs", gang.agents[0].text())
        self.assertIn("data", gang.agents[0].wait_for("Why: .*").group())

    def test_storage_that_stalls_ends_no_healthy_generation(self):
        lines = "i=0; until [ -e %s/go ]; do i=$((i+1)); echo \" iteration $i/ 9999 | elapsed time per iteration (ms): 9.5 |\"; sleep 0.1; done"
        gang = self.gang(job(lines % self.folder, launch={"heartbeat_timeout": f"{HEARTBEAT}s"}), nodes=2, ranks=1)
        gang.start(0)
        processes.wait_until(lambda: list(self.folder.glob("out/logs/*/")), 30, "the run's folder")
        run, = self.folder.glob("out/logs/*/")
        samples = run / "samples-1.jsonl"
        os.mkfifo(samples)
        full = os.open(samples, os.O_RDWR | os.O_NONBLOCK)  # and nobody reads it
        self.addCleanup(os.close, full)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(full, b"\n" * 4096)
        gang.start(1)
        all_ranks_up(gang)
        gang.agents[1].wait_for(r"iteration 5/")
        time.sleep(2 * HEARTBEAT)  # who is deaf is lost by then
        (self.folder / "go").touch()
        self.assert_codes(gang, 0, timeout=30)
        self.assertIn("samples of training were not kept", gang.agents[1].text())
        self.assertNotIn("lost", gang.text())

    def test_no_rank_inherits_a_descriptor_a_blocked_signal_or_an_ignored_one(self):
        script = r"""
            ls -l /proc/self/fd | sed -n 's/.* \([0-9][0-9]*\) -> \(.*\)/fd \1 \2/p' | grep -v '^fd 3 /proc/'
            grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status | tr -d '\t' """
        gang = self.run_gang(job(script), nodes=1, ranks=1)
        lines = [line.partition("] ")[2] for line in gang.agents[0].lines("stdout")]
        descriptors = [line.split()[1] for line in lines if line.startswith("fd ")]
        self.assertEqual(descriptors, ["0", "1", "2"], gang.text())
        self.assertIn("SigBlk:0000000000000000", lines)
        self.assertIn("SigIgn:0000000000000000", lines)

    def test_each_rank_gets_torchruns_environment(self):
        gang = self.run_gang(job("env | sort"), nodes=2, ranks=2)
        by_rank = {}
        for agent in gang.agents.values():
            for line in agent.lines("stdout"):
                if m := re.match(r"\[(\d+):(\d+)\] (\w+)=(.*)", line):
                    by_rank.setdefault((int(m[1]), int(m[2])), {})[m[3]] = m[4]
        self.assertEqual(sorted(by_rank), [(0, 0), (0, 1), (1, 2), (1, 3)], gang.text())
        for (node, rank), env in by_rank.items():
            expected = {"RANK": rank, "LOCAL_RANK": rank % 2, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 2,
                        "GROUP_RANK": node, "GROUP_WORLD_SIZE": 2, "ROLE_RANK": rank, "ROLE_WORLD_SIZE": 4,
                        "ROLE_NAME": "default", "MASTER_PORT": 29500, "TORCHELASTIC_RESTART_COUNT": 0,
                        "TORCHELASTIC_MAX_RESTARTS": 0, "TORCHELASTIC_USE_AGENT_STORE": True, "OMP_NUM_THREADS": 1}
            self.assertEqual({name: env.get(name) for name in expected}, {k: str(v) for k, v in expected.items()})
            self.assertTrue(env["TORCHELASTIC_ERROR_FILE"].startswith("/"), env["TORCHELASTIC_ERROR_FILE"])
        self.assertEqual(len({env["TORCHELASTIC_RUN_ID"] for env in by_rank.values()}), 1)


if __name__ == "__main__":
    case.main()
