#!/usr/bin/env python3
"""The eight launch scripts' own calls of torchrun, argument for argument as recorded, with megalaunch as torchrun: what does the
entry script see? A bash stand-in makes the call, as the scripts do, on every node of the recorded job."""

import json
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import case  # noqa: E402

ENTRY = r'''
import json, os, sys
with open(os.path.join(os.environ["NOTES"], os.environ["RANK"] + ".json"), "w") as file:
    json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}, file)
print("rank", os.environ["RANK"], "ran")
'''
# The pipe through tee is where the scripts lose the exit status.
SCRIPT = """#!/bin/bash
set -e
cd {cwd}
run_cmd={command}
eval "$run_cmd 2>&1 | tee {log}"
"""
MOST_RANKS = 16


def recorded():
    """One case per script: started, complete, and as many nodes as this machine can bear."""
    cases = json.loads((case.SOURCE / "tests/data/megatron/argv.json").read_text())["cases"]
    best = {}
    for each in cases:
        args = each["expect"].get("launcher_args") or []
        if not each["expect"].get("started") or "--nnodes" not in args or not args[args.index("--nnodes") + 1].isdigit():
            continue
        if not args[args.index("--nproc_per_node") + 1].isdigit():
            continue
        ranks = int(args[args.index("--nnodes") + 1]) * int(args[args.index("--nproc_per_node") + 1])
        key = (ranks <= MOST_RANKS, ranks if ranks <= MOST_RANKS else -ranks)
        if each["script"] not in best or key > best[each["script"]][0]:
            best[each["script"]] = (key, each)
    return {name: each for name, (_, each) in best.items()}


class Scripts(case.GangTest):
    def run_script(self, each):
        expect = each["expect"]
        args, data = list(expect["launcher_args"]), str(self.folder) + "/data/"
        nodes, ranks = int(args[args.index("--nnodes") + 1]), int(args[args.index("--nproc_per_node") + 1])
        host = each["env"]["MASTER_ADDR"] if each["env"].get("MASTER_ADDR") else "localhost"
        net = self.network(nodes)
        for node in range(nodes):
            hosts = Path("/etc/netns") / net.namespace(node) / "hosts"
            hosts.write_text(hosts.read_text() + (f"{net.address(0)} {host}\n" if host != "localhost" else ""))
        cwd = Path(expect["cwd"].replace("/data/", data, 1))
        entry = cwd / expect["entry"]
        cwd.mkdir(parents=True)
        Path(os.path.normpath(entry)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.path.normpath(entry)).write_text(ENTRY)
        notes, link = self.folder / "notes", self.folder / "bin" / "torchrun"
        for path in (notes, link.parent):
            path.mkdir()
        link.symlink_to(Path(case.megalaunch()).resolve())
        argv = [self.folder / "start.sh"]
        gang = self.gang_of(argv, nodes, ranks, net=net, env={
            "NOTES": str(notes), "PATH": f"{link.parent}:{os.environ['PATH']}", "PYTHON_EXEC": sys.executable, "TORCH_X": "kept"})
        for node in range(nodes):
            own = [word.replace("localhost", "node0") if node else word for word in args]
            if "--node_rank" in own:
                own[own.index("--node_rank") + 1] = str(node)
            own = [word.replace("/data/", data, 1) if word.startswith("/data/") else word for word in own]
            script = self.folder / f"start{node}.sh"
            command = shlex.join(["torchrun", *own, expect["entry"], *expect["program_args"]])
            script.write_text(SCRIPT.format(cwd=shlex.quote(str(cwd)), command=shlex.quote(command), log=self.folder / f"log{node}.txt"))
            script.chmod(0o755)
            gang.start(node, argv=[script])
        self.assert_codes(gang, 0)
        world = nodes * ranks
        seen = {int(p.stem): json.loads(p.read_text()) for p in notes.glob("*.json")}
        self.assertEqual(sorted(seen), list(range(world)), gang.text())
        for rank, me in seen.items():
            self.assertEqual(me["argv"], [expect["entry"], *expect["program_args"]])
            self.assertEqual(me["cwd"], str(cwd))
            got = {name: me["env"][name] for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "GROUP_WORLD_SIZE", "GROUP_RANK")}
            self.assertEqual(got, {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank % ranks),
                                   "GROUP_WORLD_SIZE": str(nodes), "GROUP_RANK": str(rank // ranks)})
        if "--log_dir" in args:
            logs = Path(cwd, args[args.index("--log_dir") + 1].replace("/data/", data, 1))
            found = sorted(str(p.relative_to(logs)).split("/", 1)[1] for p in logs.glob("333_*/attempt_0/*/stdout.log"))
            self.assertEqual(found, sorted(f"attempt_0/{rank}/stdout.log" for rank in range(ranks) for _ in range(nodes)))
        if "--tee" in args:
            lines = (self.folder / "log0.txt").read_text().splitlines()
            self.assertEqual(len([line for line in lines if line.startswith("[default") and line.endswith(" ran")]), ranks, lines)


def add_test(name, each):
    setattr(Scripts, f"test_{name.replace('-', '_').replace('.', '_')}", lambda self: self.run_script(each))


for script_name, one in sorted(recorded().items()):
    add_test(script_name, one)

if __name__ == "__main__":
    case.main()
