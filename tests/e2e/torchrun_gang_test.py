#!/usr/bin/env python3
"""Several nodes started by torchrun's own options: who hosts, who gets which number, restarts, late nodes, exit status."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import agents, case, launchers, meeting, processes  # noqa: E402

# Writes one line per rank and generation into a folder that all nodes share.
RANK = r'''
line="$RANK $WORLD_SIZE $GROUP_RANK $GROUP_WORLD_SIZE $LOCAL_RANK $TORCHELASTIC_RESTART_COUNT $MASTER_ADDR $(hostname)"
echo "$line" > "$NOTES/$TORCHELASTIC_RESTART_COUNT.$RANK"
'''


class TorchrunGang(case.GangTest):
    def setUp(self):
        super().setUp()
        self.notes = self.folder / "notes"
        self.notes.mkdir()
        link = self.folder / "bin" / "torchrun"
        link.parent.mkdir()
        link.symlink_to(Path(case.megalaunch()).resolve())
        self.torchrun = [link, "--no-python", "--log-dir", self.folder / "logs", "--nproc-per-node", "2"]

    def gang_with(self, options, script="", nodes=2, **more):
        argv = [*self.torchrun, "--nnodes", more.pop("nnodes", nodes), *options, "/bin/sh", "-c", RANK + script]
        return self.gang_of(argv, nodes, 2, env={"NOTES": str(self.notes)}, **more)

    def start_with(self, gang, node, *options):
        """Starts one node with options of its own."""
        place = gang.argv.index("--nnodes")
        return gang.start(node, argv=[*gang.argv[:place], *options, *gang.argv[place:]])

    def noted(self, generation=0):
        """Fields of each rank's note, by rank."""
        return {int(p.suffix[1:]): p.read_text().split() for p in sorted(self.notes.glob(f"{generation}.*"))}

    def hosts(self, generation=0):
        """Host by rank."""
        return {rank: note[7] for rank, note in self.noted(generation).items()}

    def test_the_endpoints_host_is_node_0_and_the_others_come_in_order(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node1:29400", "--rdzv-id=7"])
        gang.start(0)
        gang.start(1)
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts(), {0: "node1", 1: "node1", 2: "node0", 3: "node0"})
        self.assertEqual([n[:6] for n in self.noted().values()],
                         [[str(r), "4", str(r // 2), "2", str(r % 2), "0"] for r in range(4)])
        self.assertEqual({n[6] for n in self.noted().values()}, {"node1"})

    def test_a_master_that_is_localhost_on_the_first_node(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-id=7"], nodes=3)
        self.start_with(gang, 0, "--rdzv-endpoint", "localhost:29400")
        for node in (1, 2):
            self.start_with(gang, node, "--rdzv-endpoint", "node0:29400")
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts()[0], "node0")
        self.assertEqual(sorted(self.hosts().values()), sorted(["node0", "node1", "node2"] * 2))
        self.assertEqual(self.noted()[0][6], "localhost")

    def test_torch_ranks_of_all_nodes_meet_at_the_endpoints_name(self):
        # Written in one piece: the ranks of a node share their output.
        script = meeting.MEET + 'meet("gloo")\ndist.barrier()\nos.write(1, b"met %d\\n" % dist.get_world_size())'
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400"],
                              script=f"exec {case.DEBIAN_PYTHON} -c {shlex.quote(script)}").start_all()
        self.assert_codes(gang, 0)
        for agent in gang.agents.values():
            self.assertEqual(agent.text().count("met 4"), 2, agent.text())

    def test_given_node_ranks_count_also_with_c10d(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400"])
        self.start_with(gang, 0, "--node-rank", "1")
        self.start_with(gang, 1, "--node-rank", "0")
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts(), {0: "node1", 1: "node1", 2: "node0", 3: "node0"})

    def test_static_node_ranks(self):
        gang = self.gang_with(["--master-addr=node0", "--master-port=29555"])
        self.start_with(gang, 1, "--node_rank", "1")
        self.start_with(gang, 0, "--node_rank", "0")
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts(), {0: "node0", 1: "node0", 2: "node1", 3: "node1"})

    def test_is_host_beats_the_address(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.2:29400"])
        self.start_with(gang, 0, "--rdzv-conf", "is_host=0")
        self.start_with(gang, 1, "--rdzv-conf", "is_host=1")
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts()[0], "node1")

    def test_a_node_waits_while_the_endpoints_name_does_not_resolve(self):
        net = self.network(2)
        net.write_hosts(1, known=[1])
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400"], net=net)
        gang.start_all()
        time.sleep(1.5)  # a while in which nothing may happen
        self.assertTrue(gang.agents[1].is_running(), gang.text())
        self.assertEqual(self.noted(), {})
        net.write_hosts(1)
        self.assert_codes(gang, 0)
        self.assertEqual(len(self.noted()), 4)

    def test_the_endpoints_host_may_not_resolve_yet_on_any_node(self):
        net = self.network(2)
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=master:29400"], net=net)
        gang.start_all()
        time.sleep(1.5)  # a while in which nothing may happen
        self.assertTrue(all(agent.is_running() for agent in gang.agents.values()), gang.text())
        for node in range(2):
            net.write_hosts(node, aliases={"master": 1})
        self.assert_codes(gang, 0)
        self.assertEqual(self.hosts(), {0: "node1", 1: "node1", 2: "node0", 3: "node0"})

    def test_a_signal_ends_a_node_that_waits_for_the_endpoints_name(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=master:29400"], net=self.network(1), nnodes=2, nodes=1)
        agent = gang.start(0)
        processes.wait_until(lambda: os.readlink(f"/proc/{agent.pid}/exe").endswith("megalaunch"), 20, "it to be megalaunch")
        time.sleep(0.5)  # by now it waits for the name; if not, the signal ends it all the same
        agent.signal(signal.SIGTERM)
        self.assert_codes(gang, 128 + signal.SIGTERM)

    def test_two_agents_of_one_machine_at_one_endpoint(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:29400"], net=self.network(1))
        gang.start(0, on=0)
        gang.start(1, on=0)
        self.assert_codes(gang, 0)
        self.assertEqual([n[2] for n in self.noted().values()], ["0", "0", "1", "1"])

    def test_all_nodes_end_with_the_failed_ranks_own_code_and_the_same_report(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400"], "[ $RANK = 3 ] && exit 7; sleep 60")
        gang.start_all()
        self.assert_codes(gang, 7)
        for agent in gang.agents.values():
            self.assertRegex(agent.text("stderr"), r"Root Cause \(first observed failure\):\n\[0\]:\n.*\n.*\n  rank      : 3 \(local_rank: 1\)\n"
                                                   r"  exitcode  : 7 ")
        self.assert_no_orphans(gang)

    def test_the_restart_count_is_the_same_on_all_nodes(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400", "--max-restarts=2"],
                              "[ $TORCHELASTIC_RESTART_COUNT = 1 ] && exit 0; [ $RANK = 3 ] && exit 7; sleep 60")
        gang.start_all()
        self.assert_codes(gang, 0)
        self.assertEqual({rank: note[5] for rank, note in self.noted(1).items()}, {rank: "1" for rank in range(4)})

    def test_torchruns_restart_count_is_not_the_same_beside_it(self):
        real = launchers.newest()
        if real is None:
            self.skipTest("no interpreter with torch")
        if real.version < (2, 0):
            self.skipTest(f"torch {real.version} does not know these options; see scripts/make-venv")
        # After the failed node came back as a new member, its peer restarts without counting.
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400", "--max-restarts=2", "--rdzv-id=r"],
                              f"{shlex.quote(real.python)} -c '' ; touch $NOTES/again.$(hostname).$TORCHELASTIC_RESTART_COUNT.$LOCAL_RANK;"
                              "[ $(ls $NOTES | grep -c ^again) -ge 8 ] && exit 0; [ $(hostname) = node1 ] && [ $TORCHELASTIC_RESTART_COUNT = 0 ] && sleep 2 && exit 7;"
                              "sleep 8; exit 0")
        gang.argv = [*real.argv, *gang.argv[1:]]
        gang.start_all()
        gang.wait(120)
        counts = {tuple(p.name.split(".")[1:3]) for p in self.notes.glob("again.*")}
        self.assertIn(("node1", "1"), counts, gang.text())
        self.assertNotIn(("node0", "1"), counts)

    LATE = ["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400", "--max-restarts=0", "--rdzv-conf=last_call_timeout=1"]
    # Ranks run on until the world is as large as it may be.
    UNTIL_ALL = "touch $NOTES/world.$WORLD_SIZE.$RANK; [ $WORLD_SIZE = 4 ] && exit 0; exec sleep 60"

    def test_starts_with_the_least_and_again_when_a_late_node_comes(self):
        gang = self.gang_with(self.LATE, self.UNTIL_ALL, nnodes="1:2")
        gang.start(0)
        processes.wait_until(lambda: len(list(self.notes.glob("world.2.*"))) == 2, 20, "the first generation with one node")
        gang.start(1)
        self.assert_codes(gang, 0)
        self.assertEqual({n[1] for n in self.noted(0).values()}, {"2"})
        self.assertEqual({n[1] for n in self.noted(1).values()}, {"4"})
        self.assertEqual(self.hosts(1), {0: "node0", 1: "node0", 2: "node1", 3: "node1"})

    def test_torchrun_does_the_same_beside_it_and_counts_no_restart_either(self):
        real = launchers.newest()
        if real is None or real.version < (2, 0):
            self.skipTest("no interpreter with a torch of these options; see scripts/make-venv")
        gang = self.gang_with([*self.LATE, "--rdzv-id=r"], self.UNTIL_ALL, nnodes="1:2")
        # With a shared store, torchrun 2.13 publishes it to the first round alone, and the late node waits for it in vain.
        gang.env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        gang.argv = [*real.argv, *gang.argv[1:]]
        gang.start(0)
        processes.wait_until(lambda: len(list(self.notes.glob("world.2.*"))) == 2, 60, "the first life with one node")
        gang.start(1)
        self.assert_codes(gang, 0)
        self.assertEqual(len(list(self.notes.glob("world.4.*"))), 4)
        self.assertEqual({n[5] for n in self.noted(0).values()}, {"0"}, "its count is that of failures")

    def test_a_signal_reaches_the_ranks_of_its_node_as_it_is(self):
        gang = self.gang_with(["--rdzv-backend=c10d", "--rdzv-endpoint=node0:29400", "--signals-to-handle=SIGUSR1,SIGTERM"],
                              "trap 'touch $NOTES/usr1.$RANK; exit 0' USR1; trap 'touch $NOTES/term.$RANK; exit 0' TERM; "
                              "touch $NOTES/up.$RANK; while :; do sleep 0.1; done")
        gang.start_all()
        try:
            processes.wait_until(lambda: len(list(self.notes.glob("up.*"))) == 4, 30, "all ranks to run")
        except AssertionError as error:
            self.fail(f"{error}: {sorted(p.name for p in self.notes.iterdir())}\n{gang.text()}")
        gang.agents[1].signal(signal.SIGUSR1)
        self.assert_codes(gang, 128 + signal.SIGUSR1)
        self.assertEqual(sorted(p.name for p in self.notes.glob("usr1.*")), ["usr1.2", "usr1.3"])
        self.assertEqual(sorted(p.name for p in self.notes.glob("term.*")), ["term.0", "term.1"])


class TorchrunAlone(case.GangTest):
    def test_a_rank_can_read_what_the_launcher_reads(self):
        link = self.folder / "torchrun"
        link.symlink_to(Path(case.megalaunch()).resolve())
        done = subprocess.run([link, "--no-python", "--log-dir", self.folder / "logs", "/bin/sh", "-c", "cat"], input="a\nb\n",
                              capture_output=True, text=True, env=agents.clean_environment(), timeout=30)
        self.assertEqual((done.returncode, done.stdout), (0, "a\nb\n"))

    def test_two_standalone_jobs_beside_each_other(self):
        jobs = [subprocess.Popen([case.megalaunch(), "torchrun", "--standalone", "--no-python", "--log-dir", self.folder / str(i),
                                  "/bin/sh", "-c", "echo $MASTER_PORT; sleep 1"], stdout=subprocess.PIPE, text=True,
                                 env=agents.clean_environment()) for i in range(2)]
        ports = [job.communicate(timeout=30)[0].strip() for job in jobs]
        self.assertEqual([job.returncode for job in jobs], [0, 0])
        self.assertNotEqual(*ports)


if __name__ == "__main__":
    case.main()
