#!/usr/bin/env python3
"""What a network does to agents: directions that fail alone, packets lost for a while, connections that are reset."""

import shutil
import signal
import subprocess
import time

from lib import case, processes, network

HEARTBEAT = 3  # seconds; the job's launch.heartbeat_timeout
REPORT_LIFE = 'echo "life $TORCHELASTIC_RESTART_COUNT of rank $RANK"; exec sleep 1000'


def why_not():
    if reason := network.why_not():
        return reason
    if not shutil.which("nft"):
        return "filters need nft, from Debian's nftables"
    probe = subprocess.run(["unshare", "--net", "nft", "add", "table", "ip", "probe"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"this kernel has no filters: {probe.stderr.strip()}"


class NetworkFaults(case.GangTest):
    def setUp(self):
        if reason := why_not():
            self.skipTest(reason)
        super().setUp()

    def running_gang(self, nodes=3):
        job = {"command": case.sh(REPORT_LIFE), "launch": {"join_timeout": "60s", "heartbeat_timeout": f"{HEARTBEAT}s"},
               "restart": {"max": 5, "backoff": "0s", "grace": "1s"}}
        gang = self.gang(job, nodes=nodes, ranks=1).start_all()
        self.wait_for_life(gang, 0)
        return gang

    def wait_for_life(self, gang, generation, nodes=None):
        for node in nodes if nodes is not None else gang.agents:
            gang.agents[node].wait_for(rf"\[{node}:{node}\] life {generation} of rank {node}$", 60)

    def finish(self, gang, generation):
        """All run, in this generation and no later one, and end together."""
        for node, agent in gang.agents.items():
            self.assertEqual(len(agent.ranks()), 1, agent.text())
            self.assertNotIn(f"life {generation + 1} ", agent.text())
        gang.agents[0].signal(signal.SIGTERM)
        self.assert_codes(gang, 143, timeout=20)
        self.assert_no_orphans(gang)

    def wait_for_idle(self, gang, *nodes):
        for node in nodes:
            processes.wait_until(lambda node=node: not gang.agents[node].ranks(), 30, f"node {node} to stop its ranks")
            self.assertTrue(gang.agents[node].is_running(), gang.agents[node].text())

    def assert_lost_and_back(self, deaf, unheard):
        gang = self.running_gang()
        gang.network.deafen(deaf, unheard)
        self.wait_for_idle(gang, 0, 1, 2)
        gang.network.heal(deaf)
        self.wait_for_life(gang, 1)
        self.finish(gang, 1)

    def test_a_node_that_no_longer_hears_node_0_is_lost_and_comes_back(self):
        self.assert_lost_and_back(deaf=1, unheard=0)

    def test_a_node_that_node_0_no_longer_hears_is_lost_and_comes_back(self):
        self.assert_lost_and_back(deaf=0, unheard=1)

    def test_silence_shorter_than_the_heartbeat_time_out_is_nothing(self):
        gang = self.running_gang()
        for node in (0, 2):
            gang.network.deafen(node, 1)
            time.sleep(0.5)  # the length of the fault; a packet lost in it comes again half a second later
            gang.network.heal(node)
        time.sleep(HEARTBEAT * 2)  # what would have been noticed is noticed by then
        self.finish(gang, 0)

    def test_nodes_that_cannot_hear_each_other_but_node_0_stay_in_the_gang(self):
        gang = self.running_gang()
        gang.network.deafen(1, 2)
        gang.network.deafen(2, 1)
        time.sleep(HEARTBEAT * 2)  # longer than the time-out
        self.finish(gang, 0)

    def test_a_connection_that_is_reset_is_made_again(self):
        gang = self.running_gang()
        gang.network.deafen(1, 0, verdict="reset")
        self.wait_for_idle(gang, 1)
        gang.network.heal(1)
        self.wait_for_life(gang, 1)
        self.finish(gang, 1)

    def test_a_node_that_was_cut_off_for_long_finds_the_gang_again(self):
        gang = self.running_gang()
        gang.network.deafen(0, 1, 2)
        self.wait_for_idle(gang, 0, 1, 2)
        gang.agents[2].signal(signal.SIGKILL)
        gang.agents[2].wait(10)
        time.sleep(HEARTBEAT * 2)
        gang.start(2)
        gang.network.heal(0)
        self.wait_for_life(gang, 1)
        self.finish(gang, 1)

    def test_a_node_that_is_deaf_while_the_job_ends_hears_of_it_later(self):
        go = self.folder / "go"
        job = {"command": case.sh(f'echo "life 0 of rank $RANK"; until [ -e {go} ]; do sleep 0.05; done'),
               "launch": {"join_timeout": "20s", "heartbeat_timeout": f"{HEARTBEAT}s"}, "restart": {"max": 0}}
        gang = self.gang(job, nodes=2, ranks=1).start_all()
        self.wait_for_life(gang, 0)
        gang.network.deafen(1, 0)
        go.touch()
        processes.wait_until(lambda: not gang.agents[0].ranks() and not gang.agents[1].ranks(), 10, "the ranks to end")
        time.sleep(HEARTBEAT / 2)  # the length of the fault
        gang.network.heal(1)
        self.assert_codes(gang, 0, timeout=30)

    def test_a_node_whose_first_packets_are_lost_joins(self):
        job = {"command": case.sh(REPORT_LIFE), "launch": {"join_timeout": "60s"}, "restart": {"max": 0, "grace": "1s"}}
        gang = self.gang(job, nodes=2, ranks=1)
        gang.network.deafen(0, 1)
        gang.start_all()
        time.sleep(4)  # the fault's length
        gang.network.heal(0)
        healed = time.monotonic()
        self.wait_for_life(gang, 0)
        self.assertLess(gang.agents[1].time_of("life 0") - healed, 10, gang.text())
        self.finish(gang, 0)


if __name__ == "__main__":
    case.main()
