#!/usr/bin/env python3
"""Tests of the harness itself, with plain shells and, when it is there, the torchrun of torch 2.13 as agents."""

import errno
import os
import signal
import sys
import unittest

from lib import case, processes

WORKER = "import os, time; print(f'rank {os.environ[\"RANK\"]} of {os.environ[\"WORLD_SIZE\"]}\\n', end='', flush=True)"


class Namespaces(case.GangTest):
    def test_each_node_has_its_own_address_host_name_and_names_for_the_others(self):
        gang = self.gang_of(case.sh("hostname; getent hosts node0 node1; ip -o -4 addr show eth0 | cut -c1-40"), 2, 1)
        gang.start_all()
        self.assert_codes(gang, 0)
        for node in range(2):
            said = gang.agents[node].lines("stdout")
            self.assertEqual(said[0], f"node{node}")
            self.assertIn("10.77.0.1", said[1])
            self.assertIn("10.77.0.2", said[2])
            self.assertIn(f"inet 10.77.0.{node + 1}/24", said[3])

    def test_the_platform_counts_nodes_and_names_the_master_differently_on_node_0(self):
        gang = self.gang_of(case.sh("echo $RANK/$WORLD_SIZE $TQ_GPU_NUM $MASTER_ADDR:$MASTER_PORT"), 2, 4).start_all()
        self.assert_codes(gang, 0)
        self.assertEqual(gang.agents[0].text(), "0/2 4 localhost:29500")
        self.assertEqual(gang.agents[1].text(), "1/2 4 node0:29500")

    def test_a_name_can_be_unknown_and_become_known_to_a_running_process(self):
        net = self.network(2)
        net.write_hosts(1, known=[])
        gang = self.gang_of(case.sh("echo up; until getent hosts node0; do sleep 0.05; done"), 2, 1, net=net)
        agent = gang.start(1)
        agent.wait_for("up")
        self.assertTrue(agent.is_running())
        net.write_hosts(1)
        self.assertEqual(agent.wait(10), 0)

    def test_a_cable_can_be_pulled_and_plugged(self):
        net = self.network(2)
        self.assertTrue(self.answers(net))
        net.set_link(0, up=False)
        self.assertFalse(self.answers(net))
        net.set_link(0, up=True)
        processes.wait_until(lambda: self.answers(net), 10, "the network to work again")

    def answers(self, net):
        """Whether node 0's kernel answers node 1, if only by refusing the connection."""
        probe = "import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('10.77.0.1', 9)))"
        return net.run(1, [sys.executable, "-c", probe]).stdout.strip() == str(errno.ECONNREFUSED)

    def test_a_process_that_left_its_parent_and_session_is_found_as_an_orphan(self):
        gang = self.gang_of(case.sh("setsid sleep 1000 >/dev/null 2>&1 & exit 3"), 1, 1)
        self.assertEqual(gang.start(0).wait(), 3)
        left = processes.wait_until(gang.orphans, 5, "the orphan")
        # It is found before setsid has become sleep as well as after.
        self.assertEqual(processes.command_line(left[0])[-2:], ["sleep", "1000"])

    def test_an_agent_that_a_signal_ends_has_the_status_that_a_shell_would_show(self):
        agent = self.gang_of(case.sh("echo up; sleep 1000"), 1, 1).start(0)
        agent.wait_for("up")
        agent.signal(signal.SIGKILL)
        self.assertEqual(agent.wait(), 137)

    def test_nothing_is_left_of_a_closed_network(self):
        gang = self.gang_of(case.sh("echo up; sleep 1000"), 1, 1)
        agent, name = gang.start(0), gang.network.namespace(0)
        agent.wait_for("up")
        gang.network.close()
        self.assertFalse(processes.is_alive(agent.pid))
        self.assertFalse(os.path.exists(f"/run/netns/{name}") or os.path.exists(f"/etc/netns/{name}"))


class Torchrun(case.GangTest):
    def setUp(self):
        super().setUp()
        self.torchrun = case.VENV_PYTHON.with_name("torchrun")
        reason = case.why_no_torch(case.VENV_PYTHON)
        if reason:
            self.skipTest(reason)

    def test_two_nodes_of_a_real_torchrun_meet_across_the_bridge(self):
        worker = self.folder / "worker.py"
        worker.write_text(WORKER)
        gang = self.gang_of(
            case.sh(f'exec {self.torchrun} --nnodes 2 --nproc-per-node 2 --node-rank $RANK --master-addr node0 '
                    f'--master-port $MASTER_PORT {worker}'), 2, 2).start_all()
        self.assert_codes(gang, 0)
        said = [line for agent in gang.agents.values() for line in agent.lines("stdout")]
        self.assertEqual(sorted(said), [f"rank {rank} of 4" for rank in range(4)])
        self.assert_no_orphans(gang, within=1)

    def test_its_ranks_can_be_found(self):
        worker = self.folder / "worker.py"
        worker.write_text(WORKER + "\ntime.sleep(1000)")
        agent = self.gang_of([self.torchrun, "--nproc-per-node", "2", "--master-port", "29511", worker], 1, 2).start(0)
        ranks = processes.wait_until(lambda: len(agent.ranks()) == 2 and agent.ranks(), 60, "two ranks")
        self.assertEqual(sorted(ranks), [0, 1])
        self.assertTrue(all(processes.is_alive(pid) for pid in ranks.values()))


if __name__ == "__main__":
    case.main()
