#!/usr/bin/env python3
"""Injects faults into a training gang of 4 nodes x 2 ranks, again and again, and counts what came of it.

    tests/e2e/soak.py --rounds 20 --python .venv/bin/python        all faults, 20 times each
    tests/e2e/soak.py --only kill-rank,link-30s --rounds 3         some of them
    tests/e2e/soak.py --rounds 999 --counts soak.json \
        --python .venv/bin/python --python /usr/bin/python3        interpreters in turns, until it is stopped (SIGTERM, ^C)

--counts is written after each fault, and added to when it is there: the soak may be stopped and go on.

Each round trains the example with checkpoints in network namespaces, waits for a random iteration, injects one fault, and
checks what issue and manual promise: every agent ends with the same, right status; where the fault can be cured, training
reaches its last iteration with the same loss as without the fault (so nothing was lost, mixed up or stale); the report of
the failed generation names the injected fault, with its node and rank; and no process is left anywhere.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
import unittest
from pathlib import Path

from lib import case, processes, training

NODES, RANKS = 4, 2
ITERATIONS, SAVE_INTERVAL = 20, 4


class Round(case.GangTest):
    """One gang and one fault. Not run by unittest's own runner, but uses its folder, its cleanups and its assertions."""

    def __init__(self, python, chance):
        super().__init__("run_fault")
        self.python, self.chance = python, chance

    def run_fault(self):
        raise NotImplementedError

    # --- the gang

    def start(self, prefix="", logs=None, arguments=(), **rest):
        job = training.job(self.python, self.folder, ITERATIONS, SAVE_INTERVAL, ["--log-interval", 1, *arguments],
                           launch={"join_timeout": "90s"})
        job["restart"] = {"max": 5, "backoff": "0s", "grace": "3s"}
        python, unbuffered, *script = job["command"]
        job["command"] = [python, unbuffered, str(case.SOURCE / "tests/e2e/lib/quick_rank.py"), *script]
        if prefix:
            job["command"] = ["/bin/sh", "-c", f'{prefix}\nexec "$@"', "rank", *job["command"]]
        if logs:
            job["logs"] = {"dir": str(logs)}
        self.logs = logs or self.folder / "out" / "logs"
        env = {"MEGALAUNCH_JOB_KEY": "soak", "MEGALAUNCH_JOB_ID": "soak"}
        if self.chance.random() < 0.5:
            env["MASTER_ADDR"] = "node0"  # on node 0, too
        self.gang_ = self.gang({**job, **rest}, nodes=NODES, ranks=RANKS, env=env).start_all()
        return self.gang_

    def seen(self):
        return [item for agent in self.gang_.agents.values() for item in training.losses(agent.lines())]

    def wait_for_iteration(self, number=None):
        number = number or self.chance.randint(3, ITERATIONS - 5)
        def reached():
            ended = {node: agent.text() for node, agent in self.gang_.agents.items() if not agent.is_running()}
            if ended:
                raise AssertionError(f"ended too early: {ended}")
            return any(iteration >= number for iteration, _ in self.seen())
        processes.wait_until(reached, 120, f"iteration {number}")

    def victim(self, nodes=range(NODES)):
        """A random rank: its node, local rank and pid."""
        node = self.chance.choice(list(nodes))
        ranks = processes.wait_until(self.gang_.agents[node].ranks, 5, f"ranks of node {node}")
        local = self.chance.choice(sorted(ranks))
        return node, local, ranks[local]

    # --- what must be true afterwards

    def report(self, attempt=0):
        found = list(self.logs.glob(f"*/attempt_{attempt}/report.json"))
        self.assertEqual(len(found), 1, f"one report of attempt {attempt}: {found}")
        return json.loads(found[0].read_text())

    def assert_report(self, kind=None, node=None, rank=None, words=()):
        report = self.report()
        first = report["first"]
        if kind:
            self.assertEqual(report["kind"], kind, report)
        if node is not None:
            self.assertEqual(first["node_rank"], node, report)
        if rank is not None:
            self.assertEqual(first["rank"], rank, report)
        for word in words:
            self.assertIn(word, json.dumps(report))

    def assert_trained(self, expected_loss, restarts=None):
        self.assert_codes(self.gang_, 0, timeout=240)
        self.assert_no_orphans(self.gang_)
        last = [loss for iteration, loss in self.seen() if iteration == ITERATIONS]
        self.assertEqual(len(last), 1, f"the last iteration ran once: {self.seen()}")
        if expected_loss is not None:
            self.assertAlmostEqual(last[0], expected_loss, delta=2e-3, msg="the loss of an undisturbed run")
        if restarts is not None:
            self.assertEqual(len(list(self.logs.glob("*/attempt_*"))), restarts + 1)
        runs = [p for p in self.logs.iterdir() if p.is_dir()]
        self.assertEqual(len(runs), 1, f"one run: {runs}")
        return last[0]


# --- the faults; each takes a Round and the loss of an undisturbed run ------------------------------------------------

def undisturbed(round_, _):
    round_.start()
    return round_.assert_trained(None, restarts=0)


def kill_rank(round_, loss):
    gang = round_.start()
    round_.wait_for_iteration()
    node, local, pid = round_.victim()
    os.kill(pid, signal.SIGKILL)
    round_.assert_trained(loss, restarts=1)
    round_.assert_report("signal", node, node * RANKS + local, ["SIGKILL"])
    for agent in gang.agents.values():
        round_.assertIn("SIGKILL", agent.text())


def kill_agent(round_, loss, node=None):
    gang = round_.start()
    round_.wait_for_iteration()
    node = round_.chance.randrange(1, NODES) if node is None else node
    gang.agents[node].signal(signal.SIGKILL)
    processes.wait_until(lambda: not gang.network.processes(node), 1, "the ranks of the killed agent to end")
    gang.agents[node].wait(10)
    time.sleep(1)
    gang.start(node)  # its replacement, as a platform would
    round_.assert_trained(loss)
    return node


def kill_agent_of_another_node(round_, loss):
    node = kill_agent(round_, loss)
    round_.assert_report("lost-node", node)


def kill_agent_of_node_0(round_, loss):
    kill_agent(round_, loss, node=0)


def link_down(round_, loss, seconds):
    gang = round_.start()
    round_.wait_for_iteration()
    node = round_.chance.randrange(NODES)
    gang.network.set_link(node, up=False)
    time.sleep(seconds)
    gang.network.set_link(node, up=True)
    round_.assert_trained(loss)
    return node


def link_down_3s(round_, loss):
    link_down(round_, loss, 3)


def link_down_30s(round_, loss):
    node = link_down(round_, loss, 30)
    if node != 0:  # node 0 on its own loses all others: which of them comes first is chance
        round_.assert_report("lost-node", node)


def deaf(round_, loss):
    """For 10 s a node hears none of the others, who hear it."""
    gang = round_.start()
    round_.wait_for_iteration()
    node = round_.chance.randrange(NODES)
    gang.network.deafen(node, *(other for other in range(NODES) if other != node))
    time.sleep(10)
    gang.network.heal(node)
    round_.assert_trained(loss)
    if node != 0:
        round_.assert_report("lost-node", node)


def packets_lost(round_, loss):
    """For 10 s a node hears two of three packets; whether that makes it a lost node is chance."""
    gang = round_.start()
    round_.wait_for_iteration()
    node = round_.chance.randrange(NODES)
    gang.network.lose_packets(node, 33)
    time.sleep(10)
    gang.network.heal(node)
    round_.assert_trained(loss)


def stop_agent_of_node_0(round_, loss):
    stop_agent(round_, loss, node=0)


def stop_agent_of_another_node(round_, loss):
    round_.assert_report("lost-node", stop_agent(round_, loss))


def stop_agent(round_, loss, node=None):
    gang = round_.start()
    round_.wait_for_iteration()
    node = round_.chance.randrange(1, NODES) if node is None else node
    gang.agents[node].signal(signal.SIGSTOP)
    time.sleep(7)  # the heartbeat time-out is 5
    gang.agents[node].signal(signal.SIGCONT)
    round_.assert_trained(loss)
    return node


def stop_rank(round_, loss):
    """SIGSTOP of a rank that nobody continues."""
    gang = round_.start(restart={"max": 5, "backoff": "0s", "grace": "3s", "stopped": "3s"})
    round_.wait_for_iteration()
    node, local, pid = round_.victim()
    os.kill(pid, signal.SIGSTOP)
    round_.assert_trained(loss, restarts=1)
    round_.assert_report("signal", node, node * RANKS + local, ["SIGSTOP"])
    for agent in gang.agents.values():
        round_.assertIn("SIGSTOP", agent.text())


def rank_ignores_sigterm(round_, loss):
    round_.start(prefix="trap '' TERM")
    round_.wait_for_iteration()
    node, local, pid = round_.victim()
    os.kill(pid, signal.SIGKILL)
    round_.assert_trained(loss, restarts=1)
    round_.assert_report("signal", node, node * RANKS + local, ["SIGKILL"])


def grandchild_left_the_group(round_, loss):
    gang = round_.start(prefix="setsid sh -c 'trap \"\" TERM; exec sleep 1000' </dev/null >/dev/null 2>&1 &")
    round_.wait_for_iteration()
    before = {pid for n in range(NODES) for pid in gang.network.processes(n) if processes.command_line(pid)[:1] == ["sleep"]}
    round_.assertEqual(len(before), NODES * RANKS)
    node, local, pid = round_.victim()
    os.kill(pid, signal.SIGKILL)
    gang.agents[NODES - 1].wait_for("generation: 1|iteration .*", 60)
    processes.wait_until(lambda: not any(map(processes.is_alive, before)), 30, "the grandchildren of attempt 0 to end")
    round_.assert_trained(loss, restarts=1)
    round_.assert_report("signal", node, node * RANKS + local, ["SIGKILL"])


def import_failure_on_one_node(round_, _):
    node = round_.chance.randrange(NODES)
    gang = round_.start(prefix=f'if [ "$GROUP_RANK" = {node} ]; then set -- "$@" --fault import --fault-rank "$RANK"; fi')
    round_.assert_codes(gang, 1, timeout=120)
    round_.assert_no_orphans(gang)
    round_.assert_report("config", node, None, ["ModuleNotFoundError", "a_module_that_is_not_installed"])
    for agent in gang.agents.values():
        round_.assertIn("a_module_that_is_not_installed", agent.text())


def disk_full_under_the_logs(round_, _):
    logs = round_.folder / "small"
    logs.mkdir()
    round_.assertEqual(os.system(f"mount -t tmpfs -o size=2m tmpfs {logs}"), 0)
    round_.addCleanup(os.system, f"umount -l {logs}")
    # What is left of the last page of each log takes some iterations more: there must be enough of them.
    gang = round_.start(logs=logs, arguments=["--train-iters", 100])
    round_.wait_for_iteration()
    try:
        with open(logs / "filler", "wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
    except OSError:
        pass
    codes = gang.wait(120)
    round_.assertEqual(len(set(codes.values())), 1, f"{codes}\n{gang.text()[-3000:]}")
    round_.assertNotEqual(codes[0], 0)
    round_.assert_no_orphans(gang)
    for agent in gang.agents.values():
        round_.assertRegex(agent.text(), "(?i)no space left|disk (is )?full")


FAULTS = {
    "kill-rank": kill_rank,
    "kill-agent": kill_agent_of_another_node,
    "kill-node-0": kill_agent_of_node_0,
    "link-3s": link_down_3s,
    "link-30s": link_down_30s,
    "deaf": deaf,
    "packets-lost": packets_lost,
    "stop-agent": stop_agent_of_another_node,
    "stop-node-0": stop_agent_of_node_0,
    "stop-rank": stop_rank,
    "ignore-sigterm": rank_ignores_sigterm,
    "grandchild": grandchild_left_the_group,
    "import": import_failure_on_one_node,
    "disk-full": disk_full_under_the_logs,
}


def run_round(python, chance, fault, loss):
    """(what the fault's function returned, None) or (None, why it failed)."""
    round_ = Round(python, chance)
    try:
        round_.setUp()
        return fault(round_, loss), None
    except unittest.SkipTest as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is counted and the soak goes on
        return None, f"{type(error).__name__}: {error}"
    finally:
        round_.doCleanups()


class Counts:
    """What came of each fault, by interpreter; kept in a file if there is one."""

    def __init__(self, path):
        self.path = path
        self.all = json.loads(path.read_text()) if path and path.exists() else {}

    def add(self, python, fault, error, seconds):
        entry = self.all.setdefault(str(python), {}).setdefault(fault, {"good": 0, "of": 0, "seconds": [], "failures": []})
        entry["of"] += 1
        entry["good"] += error is None
        entry["seconds"].append(round(seconds, 1))
        if error is not None:
            entry["failures"].append(f"{time.strftime('%F %T')} {error[:20_000]}")
        if self.path:
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(self.all, indent=1))
            partial.replace(self.path)

    def __str__(self):
        lines = ["fault             good  of   median seconds of a round"]
        for python, faults in self.all.items():
            lines.append(python)
            lines += [f"{name:<16} {each['good']:>5} {each['of']:>3}   {statistics.median(each['seconds']):.0f}"
                      for name, each in faults.items()]
        return "\n".join(lines)

    def bad(self):
        return any(each["good"] < each["of"] for faults in self.all.values() for each in faults.values())


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault is injected")
    parser.add_argument("--only", default=",".join(FAULTS), help="comma-separated names of faults (default: all)")
    parser.add_argument("--python", type=Path, action="append", help="an interpreter with torch; several take turns")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--counts", type=Path, help="a JSON file for the counts")
    args = parser.parse_args()
    pythons = [python.absolute() for python in args.python or [case.DEBIAN_PYTHON]]
    for python in pythons:
        if reason := case.why_no_torch(python):
            print(f"skipped: {reason}")
            sys.exit(77)
    signal.signal(signal.SIGTERM, interrupt)
    print(f"seed {args.seed}, {NODES} nodes x {RANKS} ranks, {', '.join(map(str, pythons))}", flush=True)
    counts, losses = Counts(args.counts), {}
    try:
        for number in range(args.rounds):
            python = pythons[number % len(pythons)]
            if python not in losses:
                losses[python], error = run_round(python, random.Random(args.seed), undisturbed, None)
                if error:
                    print(f"the undisturbed run failed: {error}")
                    sys.exit(1)
            for name in args.only.split(","):
                begin = time.monotonic()
                # A round can be had again: its chance is that of the seed, the round and the fault alone.
                chance = random.Random(f"{args.seed} {number} {name}")
                _, error = run_round(python, chance, FAULTS[name], losses[python])
                seconds = time.monotonic() - begin
                counts.add(python, name, error, seconds)
                print(f"round {number + 1}: {name}: {'ok' if error is None else 'FAILED: ' + error[:1000]} ({seconds:.0f} s)", flush=True)
    except KeyboardInterrupt:
        print("stopped")
    print(f"\n{counts}")
    sys.exit(counts.bad())


if __name__ == "__main__":
    main()
