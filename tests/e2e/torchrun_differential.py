#!/usr/bin/env python3
"""The same command lines under torch's torchrun and under megalaunch in its place: exit status, what each rank was given,
log tree, lines on the console, error files. Skipped (77) where no torch is installed. docs/torchrun.md lists what differs."""

import concurrent.futures
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import launchers  # noqa: E402


class Case:
    """`args` for torch 2, from version `since` on; `old` for 1.13 (None: the same, False: not for it). `expect`: how it ends
    under both."""

    def __init__(self, name, args, env=None, stdin="", old=False, expect=None, since=(2, 0)):
        self.name, self.args, self.env, self.stdin = name, args.split() if isinstance(args, str) else args, env, stdin
        self.old, self.expect, self.since = old, expect, since


LOGS = "--log-dir logs "
OLD = "--redirects 1 --tee 1 --log_dir logs "  # all that 1.13 can parse under Debian's Python

CASES = [
    # --- how the command line is read
    Case("one rank", LOGS + "probe.py", old=OLD + "probe.py"),
    Case("two ranks", LOGS + "--nproc-per-node 2 probe.py", old=OLD + "--nproc_per_node 2 probe.py"),
    Case("underscores", "--log_dir logs --nproc_per_node 2 probe.py"),
    Case("equals sign", "--log-dir=logs --nproc-per-node=2 probe.py", old=OLD + "--nproc_per_node=2 probe.py"),
    Case("unambiguous beginnings", "--log_d logs --nproc_ 2 --max_r=1 probe.py", old=OLD + "--nproc 2 --max_r 1 probe.py"),
    Case("an ambiguous beginning", "--no probe.py", expect="usage", old=OLD + "--no probe.py"),
    Case("an ambiguous beginning of two values", "--rdzv_ x probe.py", expect="usage", old=OLD + "--rdzv x probe.py"),
    Case("script arguments", LOGS + "probe.py --lr 1e-5 a=b -m"),
    Case("script arguments with our options", LOGS + "probe.py --nproc-per-node 5 --standalone", old=OLD + "probe.py --standalone"),
    Case("a dash dash before the script", LOGS + "-- probe.py a"),
    Case("a dash dash behind the script", LOGS + "probe.py -- a"),
    Case("a dash dash among script arguments", LOGS + "probe.py a -- b"),
    Case("empty and blank arguments", ["--log-dir", "logs", "probe.py", "", "a b", "*", "$HOME", "ü"]),
    Case("local rank in arguments", ["--log-dir", "logs", "--nproc-per-node", "2", "probe.py", "${local_rank}", "x$local_rank",
                                     "$$", "${other}", "${local_rank", "$1"],
         old=["--redirects", "1", "--tee", "1", "--log_dir", "logs", "--nproc_per_node", "2", "probe.py", "${local_rank}"]),
    Case("defaults from PET variables", "probe.py", env={"PET_NPROC_PER_NODE": "2", "PET_LOG_DIR": "logs", "PET_TEE": "3"}),
    Case("the command line over PET", LOGS + "--nproc-per-node 1 probe.py", env={"PET_NPROC_PER_NODE": "3"},
         old=OLD + "--nproc_per_node 1 probe.py"),
    Case("a flag from PET", LOGS + "probe.py", env={"PET_STANDALONE": "1", "PET_RDZV_ID": "x"}),
    Case("a flag off in PET", LOGS + "--master-port 29871 probe.py", env={"PET_STANDALONE": "0", "EXPECTED_PORT": "29871"}),
    Case("a PET number that is none", "probe.py", env={"PET_MAX_RESTARTS": "many"}, expect="usage"),
    # --- bad ones
    Case("nothing", "", expect="usage", old=""),
    Case("only options", "--nproc-per-node 2", expect="usage", old=OLD + "--nproc_per_node 2"),
    Case("an unknown option", "--no-such-option probe.py", expect="usage", old="--no_such_option probe.py"),
    Case("an unknown letter", "-x probe.py", expect="usage"),
    Case("an option without its value", "probe.py".join(["--nnodes"] * 1), expect="usage", old="--nnodes"),
    Case("an option in place of a value", "--nnodes --standalone probe.py", expect="usage"),
    Case("a flag with a value", "--standalone=1 probe.py", expect="usage", old="--standalone=1 probe.py"),
    Case("restarts that are no number", "--max-restarts x probe.py", expect="usage", old="--max_restarts x probe.py"),
    Case("negative restarts", "--max-restarts -1 probe.py", expect="failure", old=OLD + "--max_restarts -1 probe.py"),
    Case("a start method that is none", "--start-method x probe.py", expect="usage", old="--start_method x probe.py"),
    Case("an interval that is no number", "--monitor-interval x probe.py", expect="usage"),
    Case("ranks that are no number", "--nproc-per-node x probe.py", expect="failure", old=OLD + "--nproc_per_node x probe.py"),
    Case("no ranks", "--nproc-per-node 0 probe.py", expect="failure"),
    Case("GPUs where there are none", "--nproc-per-node gpu probe.py", env={"CUDA_VISIBLE_DEVICES": ""}, expect="failure"),
    Case("nodes that are no number", "--nnodes x probe.py", expect="failure", old=OLD + "--nnodes x probe.py"),
    Case("no nodes", "--nnodes 0 probe.py", expect="failure", old=OLD + "--nnodes 0 probe.py"),
    Case("more least than most nodes", "--nnodes 3:2 probe.py", expect="failure", old=OLD + "--nnodes 3:2 probe.py"),
    Case("three numbers of nodes", "--nnodes 1:2:3 probe.py", expect="failure"),
    Case("a back end that is none", "--rdzv-backend x probe.py", expect="failure", old=OLD + "--rdzv_backend x probe.py"),
    Case("rdzv-conf without value", "--rdzv-backend c10d --rdzv-endpoint localhost:29872 --rdzv-conf a probe.py", expect="failure"),
    Case("rdzv-conf without key", "--rdzv-backend c10d --rdzv-endpoint localhost:29873 --rdzv-conf =1 probe.py", expect="failure"),
    Case("an endpoint with a bad port", "--rdzv-backend c10d --rdzv-endpoint localhost:x probe.py", expect="failure"),
    Case("an endpoint with a port too high", "--rdzv-backend c10d --rdzv-endpoint localhost:70000 probe.py", expect="failure"),
    Case("module and no python", "-m --no-python probe", expect="failure"),
    Case("a redirect that is none", "-r 4 probe.py", expect="failure"),
    Case("a redirect list that is none", "-r 0:3, probe.py", expect="failure"),
    Case("a tee that is none", "-t x probe.py", expect="failure"),
    Case("a filter that is none", "--local-ranks-filter a probe.py", expect="failure"),
    Case("a numa binding that is none", "--numa-binding x probe.py", expect="usage"),
    Case("a negative shutdown time-out", "--shutdown-timeout -1 probe.py", expect="failure"),
    Case("logs specs that nobody has", "--logs-specs mine probe.py", expect="failure"),
    Case("a program that is not there", LOGS + "--no-python ./nowhere", expect="failure"),
    Case("a script that is not there", LOGS + "nowhere.py", old=OLD + "nowhere.py"),
    Case("a log folder that is a file", "--log-dir probe.py probe.py", expect="failure"),
    # --- what runs, and how it ends
    Case("a module", LOGS + "-m probe a", old=OLD + "-m probe a"),
    Case("letters together", LOGS + "-mr3 probe a"),
    # Not for 1.13: what torch a program imports is not known, so it gets the variables of the newest.
    Case("no python", LOGS + "--no-python ./probe.sh a b"),
    Case("run path", LOGS + "--run-path probe.py a"),
    Case("standard input of one rank", LOGS + "probe.py stdin", stdin="some input\n", old=OLD + "probe.py stdin"),
    Case("a rank fails", LOGS + "--nproc-per-node 2 -t 3 probe.py exit=1:7 sleep=0:20", expect="failure",
         old=OLD + "--nproc_per_node 2 probe.py exit=1:7 sleep=0:20"),
    Case("a rank is killed", LOGS + "--nproc-per-node 2 -r 3 probe.py kill=0:9 sleep=1:20", expect="failure",
         old=OLD + "--nproc_per_node 2 probe.py kill=0:9 sleep=1:20"),
    Case("a rank ends early", LOGS + "--nproc-per-node 2 probe.py exit=0:0 sleep=1:0.5"),
    Case("restarts used up", LOGS + "--max-restarts 2 --nproc-per-node 2 -r 3 probe.py exit=1:7 sleep=0:20", expect="failure",
         old=OLD + "--max_restarts 2 --nproc_per_node 2 probe.py exit=1:7 sleep=0:20"),
    Case("a restart that helps", LOGS + "--max-restarts 3 --nproc-per-node 2 -t 3 probe.py until=1 exit=0:3 sleep=1:20", expect="success",
         old=OLD + "--max_restarts 3 --nproc_per_node 2 probe.py until=1 exit=0:3 sleep=1:20"),
    # --- logs and console
    Case("redirect all", LOGS + "--nproc-per-node 2 -r 3 probe.py"),
    Case("redirect stderr", LOGS + "--nproc-per-node 2 --redirects 2 probe.py"),
    Case("redirect by rank", LOGS + "--nproc-per-node 3 -r 0:1,2:3 probe.py"),
    Case("tee all", LOGS + "--nproc-per-node 2 -t 3 probe.py"),
    Case("tee by rank, redirect the rest", LOGS + "--nproc-per-node 2 -r 3 -t 0:3 probe.py"),
    Case("letters with their value", LOGS + "--nproc-per-node 2 -r1 -t2 probe.py"),
    Case("a role in the prefix", LOGS + "--role trainer --nproc-per-node 2 -t 3 probe.py", old=OLD + "--role trainer --nproc_per_node 2 probe.py"),
    Case("a prefix template", LOGS + "--role trainer --nproc-per-node 2 -t 3 probe.py",
         env={"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "<${role_name}|${rank}|${local_rank}|${x}>"}),
    Case("a prefix template as an option", LOGS + "--nproc-per-node 2 -t 3 --log-line-prefix-template ${rank}/${local_rank}: probe.py",
         since=(2, 14)),
    Case("a prefix template with the host", LOGS + "-t 3 --log_line_prefix_template=${hostname}|${role_name}| probe.py", since=(2, 14)),
    Case("a prefix template as an option over the variable", LOGS + "-t 3 --log-line-prefix-template option: probe.py",
         env={"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "variable:"}, since=(2, 14)),
    Case("completion for a shell that is none", "--print-completion fish", expect="usage", since=(2, 14)),
    Case("a console filter", LOGS + "--nproc-per-node 3 -t 0:3,1:3 --local-ranks-filter 1,2 probe.py"),
    Case("a console filter without files", LOGS + "--nproc-per-node 2 --local-ranks-filter 0 probe.py"),
    Case("duplicated lines", LOGS + "--nproc-per-node 2 -t 3 --duplicate-stdout-filters apple,,,out --duplicate-stderr-filters err probe.py"),
    Case("no logs at all", "--log-dir /dev/null --nproc-per-node 2 -t 3 probe.py"),
    Case("a temporary log folder", "--nproc-per-node 2 -t 3 probe.py"),
    # --- where the nodes meet
    Case("standalone", LOGS + "--standalone --nproc-per-node 2 probe.py"),
    Case("standalone over an id", LOGS + "--standalone --rdzv-id x probe.py"),
    Case("static with a port", LOGS + "--master-port 29874 probe.py", env={"EXPECTED_PORT": "29874"},
         old=OLD + "--master_port 29874 probe.py"),
    Case("static with an address and an id", LOGS + "--master-addr localhost --master-port 29875 --rdzv-id j1 probe.py",
         env={"EXPECTED_PORT": "29875"}, old=OLD + "--master_addr localhost --master_port 29875 --rdzv_id j1 probe.py"),
    Case("static by an endpoint", LOGS + "--rdzv-endpoint 127.0.0.1:29876 probe.py", env={"EXPECTED_PORT": "29876"}),
    Case("c10d", LOGS + "--rdzv-backend c10d --rdzv-endpoint localhost:29877 --rdzv-id j2 --nproc-per-node 2 probe.py"),
    Case("c10d that must host", LOGS + "--rdzv-backend c10d --rdzv-endpoint localhost:29878 --rdzv-id j3 --rdzv-conf is_host=1,join_timeout=60 probe.py"),
    Case("c10d for one to two nodes", LOGS + "--nnodes 1:2 --rdzv-backend c10d --rdzv-endpoint localhost:29879 --rdzv-id j4 --rdzv-conf last_call_timeout=1 probe.py"),
    # --- environment
    Case("threads that are set", LOGS + "--nproc-per-node 2 probe.py", env={"OMP_NUM_THREADS": "3"}, old=OLD + "--nproc_per_node 2 probe.py"),
    Case("NCCL's error handling that is set", LOGS + "probe.py", env={"TORCH_NCCL_ASYNC_ERROR_HANDLING": "3"}),
    Case("virtual local ranks", LOGS + "--virtual-local-rank --nproc-per-node 2 probe.py", env={"CUDA_VISIBLE_DEVICES": "5, 7"}),
    Case("virtual local ranks of all devices", LOGS + "--virtual-local-rank --nproc-per-node 2 probe.py"),
    Case("other signals", LOGS + "--signals-to-handle SIGTERM,SIGUSR1 probe.py"),
    Case("variables of an outer launcher", LOGS + "probe.py",
         env={"RANK": "7", "WORLD_SIZE": "9", "MASTER_ADDR": "elsewhere", "LOCAL_RANK": "3", "GROUP_RANK": "2"}),
]


def differences(case, theirs, mine):
    """What is not the same, as lines."""
    found = []

    def same(what, a, b):
        if a != b:
            found.append(f"{what}:\n    torchrun:   {a}\n    megalaunch: {b}")

    same("exit", theirs.kind(), mine.kind())
    if case.expect and mine.kind() != case.expect:
        found.append(f"megalaunch: {mine.kind()}, not {case.expect}")
    same("ranks", sorted(theirs.ranks), sorted(mine.ranks))
    for rank, me in theirs.ranks.items():
        other = mine.ranks.get(rank, {"env": {}})
        for what in ("argv", "name", "unbuffered", "stdin"):
            same(f"{what} of {rank}", me[what], other.get(what))
    ours_env = mine.environments()
    for rank, env in theirs.environments().items():
        other = ours_env.get(rank, {})
        for name in sorted(env.keys() | other.keys()):
            same(f"{name} of {rank}", env.get(name), other.get(name))
    same("log tree", theirs.tree, mine.tree)
    same("stdout", theirs.lines(theirs.out), mine.lines(mine.out))
    same("stderr", theirs.lines(theirs.err), mine.lines(mine.err))
    for path, text in theirs.files.items():
        if path.endswith(".log"):
            same(path, sorted(text.splitlines()), sorted(mine.files.get(path, "").splitlines()))
    return found


def cases_for(launcher):
    if launcher.version >= (2, 12):
        return [c for c in CASES if c.since <= launcher.version]
    new = launcher.version >= (2, 0)
    old = [c for c in CASES if (new and c.since <= launcher.version and "--shutdown-timeout" not in c.args) or (not new and c.old is not False)]
    return [with_port(Case(c.name, c.args if new else c.old, c.env, c.stdin, expect=c.expect), 29700 + i) for i, c in enumerate(old)]


def with_port(case, port):
    """Before 2.12 a node that names no place takes port 29500, so it is told one."""
    options = " ".join(word for word in case.args[:next((i for i, w in enumerate(case.args) if "probe" in w), 0)])
    elsewhere = any(word in options for word in ("master_port", "master-port", "rdzv", "standalone"))
    if case.expect != "usage" and not elsewhere and "PET_STANDALONE" not in (case.env or {}):
        case.args = ["--master_port", str(port), *case.args]
        case.env = {**(case.env or {}), "EXPECTED_PORT": str(port)}
    return case


def run_both(case, index, launcher, mine, folder):
    outcomes = []
    for who in (launcher, mine):
        place = folder / f"{launcher.version[0]}-{index}-{'ours' if who is mine else 'theirs'}"
        place.mkdir()
        outcomes.append(who.run(place, case.args, case.env, case.stdin))
    found = differences(case, *outcomes)
    if found and os.environ.get("MEGALAUNCH_SHOW"):
        found.append(f"megalaunch said:\n{outcomes[1].err}\ntorchrun said:\n{outcomes[0].err[-1500:]}")
    return found


def main():
    only = sys.argv[1:]
    # Without a newer torch, the newest is Debian's.
    found = list({launcher.python: launcher for launcher in (launchers.newest(), launchers.debians()) if launcher}.values())
    if not found:
        launchers.skip("no interpreter with torch (see scripts/make-venv, or set MEGALAUNCH_PYTHONS)")
    bad = count = 0
    with tempfile.TemporaryDirectory(prefix="megalaunch-torchrun-") as name, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        folder = Path(name)
        for launcher in found:
            mine = launchers.ours(folder, launcher.python, launcher.version)
            cases = [c for c in cases_for(launcher) if not only or c.name in only]
            jobs = [pool.submit(run_both, c, i, launcher, mine, folder) for i, c in enumerate(cases)]
            for c, job in zip(cases, jobs):
                count += 1
                problems = job.result()
                bad += bool(problems)
                for problem in problems:
                    print(f"{launcher.name}: {c.name} ({' '.join(c.args)}): {problem}")
            print(f"{len(cases)} command lines compared with {launcher.name}", flush=True)
    print(f"{count} comparisons, {bad} differ")
    sys.exit(1 if bad or not count else 0)


if __name__ == "__main__":
    main()
