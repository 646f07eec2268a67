#!/usr/bin/env python3
"""Mistakes are met before anything starts: each with its own message and exit status. And agents that do not belong to
the gang are refused, with the reason on both sides."""

import os
import signal
import subprocess
import time

from lib import case

# A rank leaves a trace in the folder, so that a test can tell that none was started.
TRACE = "touch %s/started.$RANK; exec sleep 1000"


class Mistakes(case.GangTest):
    def assert_refused(self, job, code, *words, ranks=1, **options):
        agent = self.gang(job, nodes=1, ranks=ranks, **options).start(0)
        self.assertEqual(agent.wait(20), code, agent.text())
        for word in words:
            self.assertRegex(agent.text("stderr"), word)
        self.assertEqual(list(self.folder.glob("started.*")), [], "nothing was started")
        self.assert_no_orphans(self.gangs[-1])
        return agent

    def trace(self, **rest):
        return {"command": case.sh(TRACE % self.folder), **rest}

    def test_a_log_directory_that_cannot_be_made(self):
        (self.folder / "file").write_text("not a folder")
        self.assert_refused(self.trace(logs={"dir": str(self.folder / "file" / "logs")}), 2,
                            "file/logs", "(?i)not a directory")

    def test_a_log_directory_without_permission_to_write(self):
        frozen = self.folder / "frozen"
        frozen.mkdir()
        if os.system(f"mount -t tmpfs -o ro tmpfs {frozen}") != 0:
            self.skipTest("cannot mount a read-only folder here")
        self.addCleanup(os.system, f"umount {frozen}")
        self.assert_refused(self.trace(logs={"dir": str(frozen / "logs")}), 2, "frozen/logs", "(?i)read-only")

    def test_a_port_in_use_and_by_whom(self):
        net = self.network(1)
        listener = net.start(0, ["/usr/bin/python3", "-c", "import socket, time\n"
                                 "s = socket.create_server(('', 29500)); print('up', flush=True); time.sleep(1000)"],
                             stdout=subprocess.PIPE)
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        self.addCleanup(listener.stdout.close)
        listener.stdout.readline()
        agent = self.gang(self.trace(), nodes=1, ranks=1, net=net).start(0)
        self.assertEqual(agent.wait(20), 2, agent.text())
        self.assertRegex(agent.text(), "29500")
        self.assertRegex(agent.text(), "uses it already")
        self.assertRegex(agent.text(), rf"\b{listener.pid}\b", "says which process has it")
        self.assertRegex(agent.text(), "python3", "says which program has it")
        self.assertEqual(list(self.folder.glob("started.*")), [])

    def test_an_endpoint_that_is_not_node_0_is_warned_of(self):
        job = {"command": ["sleep", "1000"], "restart": {"grace": "1s"}}
        for master, warning in {"nowhere": "MASTER_ADDR=nowhere, a name that does not resolve",
                                "10.77.0.9": "MASTER_ADDR=10.77.0.9, which is none of this machine's addresses"}.items():
            with self.subTest(master=master):
                agent = self.gang(job, nodes=1, ranks=1, env={"MASTER_ADDR": master}).start(0)
                agent.wait_for(warning, 30)
                agent.signal(signal.SIGTERM)
                self.assertEqual(agent.wait(20), 143, agent.text())

    def test_an_unknown_key_with_its_place(self):
        job = 'version: 1\nname: test\ncommand: [sleep, "1"]\nlaunch:\n  nnodes: 2\n'
        self.assert_refused(job, 2, r"job\.yaml:5:3: .*nnodes")

    def test_a_table_of_causes_with_its_place(self):
        (self.folder / "causes.yaml").write_text("rules:\n  - name: a\n    kind: dtaa\n    match: [x]\n")
        job = self.trace(workdir=str(self.folder), restart={"causes": "causes.yaml"})
        self.assert_refused(job, 2, r"restart: \{causes", r"causes\.yaml:3:\d+: .*dtaa")
        job["restart"]["causes"] = "none.yaml"
        self.assert_refused(job, 2, r"restart: \{causes", r"none\.yaml: No such file")

    def test_a_kind_of_cause_that_does_not_exist(self):
        self.assert_refused(self.trace(restart={"per_kind": {"netwrok": 3}}), 2, r"restart\.per_kind\.netwrok")

    def test_a_file_that_is_not_there(self):
        agent = self.gang_of([case.megalaunch(), "run", self.folder / "none.yaml"], 1, 1).start(0)
        self.assertEqual(agent.wait(20), 2, agent.text())
        self.assertRegex(agent.text(), "none.yaml.*No such file")

    def test_a_program_that_is_not_there(self):
        self.assert_refused({"command": ["no-such-program", "x"]}, 2, "no-such-program", "PATH")
        self.assert_refused({"command": ["/nowhere/train"]}, 2, "/nowhere/train", "(?i)no such file")

    def test_a_program_that_is_not_executable(self):
        program = self.folder / "train"
        program.write_text("#!/bin/sh\n")
        self.assert_refused({"command": [str(program)]}, 2, str(program), "(?i)permission denied|not executable")

    def test_a_working_directory_that_is_not_there(self):
        self.assert_refused(self.trace(workdir="/nowhere"), 2, "/nowhere")

    def test_no_ranks_at_all(self):
        self.assert_refused(self.trace(), 2, "TQ_GPU_NUM", ranks=0)
        self.assert_refused(self.trace(launch={"ranks_per_node": 0}), 2, "ranks_per_node")

    def test_a_platform_variable_that_makes_no_sense(self):
        self.assert_refused(self.trace(), 2, "WORLD_SIZE", env={"WORLD_SIZE": "three"})
        self.assert_refused(self.trace(), 2, "RANK", env={"RANK": "5", "WORLD_SIZE": "2"})


class Strangers(case.GangTest):
    JOB = {"command": case.sh("sleep 2"), "launch": {"join_timeout": "8s"}, "restart": {"max": 0, "grace": "1s"}}

    def test_the_join_timeout_ends_every_agent_with_145_and_says_who_is_missing(self):
        gang = self.gang({**self.JOB, "launch": {"join_timeout": "3s"}}, nodes=3, ranks=1)
        gang.start(0)
        gang.start(1)
        self.assert_codes(gang, 145, timeout=20)
        for agent in gang.agents.values():
            self.assertRegex(agent.text(), r"(?i)missing.*\b2\b|\bnode 2\b.*missing")
        self.assert_no_orphans(gang)

    def test_without_node_0_the_others_say_that_it_is_missing(self):
        gang = self.gang({**self.JOB, "launch": {"join_timeout": "3s"}}, nodes=2, ranks=1)
        gang.start(1)
        self.assert_codes(gang, 145, timeout=20)
        self.assertRegex(gang.agents[1].text(), r"node0:29500")

    def refused(self, words, env=None, node=1, others=(0,)):
        """One agent is refused with the reason on both sides; the rest of the gang of two goes on as if it had not come."""
        net = self.network(3)
        gang = self.gang({**self.JOB, "command": case.sh("echo up; sleep 1000")}, nodes=2, ranks=1, net=net,
                         env={"MEGALAUNCH_JOB_KEY": "secret", "MEGALAUNCH_JOB_ID": "a"})
        for other in others:
            gang.start(other).wait_for("joined")  # so that the stranger comes last
        stranger = gang.start(9, env={"RANK": str(node), "MASTER_ADDR": "node0", **(env or {})}, on=2)
        code = stranger.wait(20)
        self.assertNotEqual(code, 0)
        for pattern in words:
            self.assertRegex(stranger.text(), pattern)
            self.assertRegex(gang.agents[0].text(), pattern)
        del gang.agents[9]
        if 1 not in others:
            gang.start(1)
        for agent in gang.agents.values():
            agent.wait_for("up")
        gang.agents[0].signal(signal.SIGTERM)
        self.assert_codes(gang, 143, timeout=30)
        return code

    def test_another_job_id_is_refused(self):
        self.refused(["(?i)job"], env={"MEGALAUNCH_JOB_ID": "b"})

    def test_a_wrong_key_is_refused(self):
        self.refused(["(?i)key"], env={"MEGALAUNCH_JOB_KEY": "guess"})

    def test_no_key_where_the_gang_has_one_is_refused(self):
        self.refused(["(?i)key"], env={"MEGALAUNCH_JOB_KEY": ""})

    def test_a_node_rank_that_is_taken_is_refused(self):
        self.refused([r"(?i)node (rank )?1\b"], node=1, others=(0, 1))

    def test_a_node_rank_beyond_the_gang_is_refused(self):
        net = self.network(1)
        gang = self.gang(self.JOB, nodes=2, ranks=1, net=net)
        agent = gang.start(0, env={"RANK": "2"})
        self.assertEqual(agent.wait(20), 2, agent.text())

    def test_a_gang_without_a_key_is_warned_about(self):
        gang = self.run_gang(self.JOB, nodes=2, ranks=1)
        self.assertEqual(self.codes, {0: 0, 1: 0})
        self.assertRegex(gang.agents[0].text(), "(?i)warning.*(open|key)")

    def test_order_of_arrival_gives_the_rank_where_the_platform_gives_none(self):
        script = "echo group $GROUP_RANK"
        gang = self.gang({**self.JOB, "command": case.sh(script), "platform": "local",
                          "launch": {"nodes": 2, "ranks_per_node": 1, "endpoint": "node0:29500"}}, nodes=2, ranks=1)
        hidden = {name: "" for name in ("WORLD_SIZE", "RANK", "TQ_GPU_NUM", "MASTER_ADDR", "MASTER_PORT")}
        gang.start(0, env=hidden)
        time.sleep(0.5)
        gang.start(1, env=hidden)
        self.assert_codes(gang, 0)
        self.assertIn("group 0", gang.agents[0].text())
        self.assertIn("group 1", gang.agents[1].text())


if __name__ == "__main__":
    case.main()
