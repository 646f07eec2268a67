"""Two launchers with torchrun's command line, torch's own and megalaunch, and everything that one run of either leaves."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from . import agents, case

# A rank that writes down what it was given, says a line on each stream, and ends as its arguments say.
PROBE = r'''
import json, os, signal, sys, time
me = {"argv": sys.argv[1:], "cwd": os.getcwd(), "name": __name__, "unbuffered": sys.stdout.write_through,
      "stdin": sys.stdin.read() if "stdin" in sys.argv else None,
      "env": {k: v for k, v in os.environ.items()}}
rank, restart = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
with open(os.path.join(os.environ["PROBE_DIR"], f"{restart}.{rank}.json"), "w") as file:
    json.dump(me, file)
# One write per line: ranks may share a pipe.
sys.stdout.write(f"out of {rank} in {restart}\n")
sys.stderr.write(f"err of {rank} in {restart}\n")
sys.stdout.write(f"apple {rank}\n")
sys.stdout.flush()
for word in sys.argv[1:]:
    what, _, value = word.partition("=")
    who, _, value = value.partition(":")
    if what == "until" and int(restart) >= int(who): sys.exit(0)
    if what not in ("exit", "kill", "sleep") or who not in (rank, "all"): continue
    if what == "exit": time.sleep(0.1); sys.exit(int(value))
    if what == "kill": time.sleep(0.1); os.kill(os.getpid(), int(value))
    if what == "sleep": time.sleep(float(value))
'''

RANDOM = re.compile(r"^(.*)_[A-Za-z0-9_]{8}$")
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
OURS_ALONE = re.compile(r"(^|/)(journal\.json|events\.jsonl|run\.json|report\.(json|txt))$")
FROM_A_RANK = re.compile(r"(out|err) of \d+ in \d+$|apple \d+$")


def normal_id(text):
    return "<uuid>" if UUID.match(text) else text


def own_names():
    return {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}


def normal_path(path):
    """Below the log folder, with the run's random letters taken away."""
    first, *rest = path.split("/")
    match = RANDOM.match(first)
    return "/".join([f"{normal_id(match[1])}_<random>" if match else first, *rest])


class Outcome:
    """What one run left: exit status, ranks' own accounts, log tree, console."""

    def __init__(self, folder, code, out, err):
        self.code, self.out, self.err = code, out, err
        self.ranks = {p.stem: json.loads(p.read_text()) for p in sorted((folder / "probe").glob("*.json"))}
        logs = folder / "logs"
        self.tree = sorted(normal_path(str(p.relative_to(logs))) for p in logs.rglob("*")
                           if p.is_file() and not OURS_ALONE.search(str(p)))
        self.files = {normal_path(str(p.relative_to(logs))): p.read_text(errors="replace") for p in logs.rglob("*") if p.is_file()}

    def kind(self):
        """0, usage (argparse's 2), or failure."""
        if self.code == 2 and " FAILED\n" not in self.err:
            return "usage"
        return "success" if self.code == 0 else "failure"

    def lines(self, text):
        """The lines that ranks wrote, with their prefixes; not those that our report quotes."""
        return sorted(line for line in text.splitlines() if FROM_A_RANK.search(line) and not line.startswith("  | "))

    def environments(self):
        return {rank: normal_environment(me["env"]) for rank, me in self.ranks.items()}


# Each with its row in docs/torchrun.md.
DIFFERS = {"MEGALAUNCH_AGENT", "_", "PYTHON_EXEC", "PROBE_DIR", "OLDPWD", "SHLVL", "PWD"}


def normal_environment(env):
    env = {name: value for name, value in env.items() if name not in DIFFERS}
    if env["MASTER_ADDR"] in own_names():
        env["MASTER_ADDR"] = "<this machine>"
    if int(env["MASTER_PORT"]) > 0 and env["MASTER_PORT"] != env.get("EXPECTED_PORT"):
        env["MASTER_PORT"] = "<a port>"
    env["TORCHELASTIC_RUN_ID"] = normal_id(env["TORCHELASTIC_RUN_ID"])
    if env.get("TORCHELASTIC_ERROR_FILE"):
        env["TORCHELASTIC_ERROR_FILE"] = "/".join(["<logs>", *env["TORCHELASTIC_ERROR_FILE"].split("/")[-3:]])
    return env


class Launcher:
    def __init__(self, name, argv, python, version):
        self.name, self.argv, self.python, self.version = name, argv, str(python), version

    def environment(self, folder, extra):
        # The same interpreter for the ranks of both.
        return {**agents.clean_environment(), "PROBE_DIR": str(folder / "probe"), "PYTHON_EXEC": self.python, **extra}

    def prepare(self, folder):
        for name in ("probe", "logs"):
            (folder / name).mkdir(parents=True)
        (folder / "probe.py").write_text(PROBE)
        (folder / "probe.sh").write_text('#!/bin/sh\nexec "$PYTHON_EXEC" probe.py "$@"\n')
        (folder / "probe.sh").chmod(0o755)

    def run(self, folder, args, env=None, stdin="", timeout=60):
        self.prepare(folder)
        process = subprocess.run([*self.argv, *args], cwd=folder, env=self.environment(folder, env or {}), input=stdin,
                                 capture_output=True, text=True, errors="replace", timeout=timeout)
        return Outcome(folder, process.returncode, process.stdout, process.stderr)


def ours(folder, python, version):
    """megalaunch linked under torchrun's name."""
    link = folder / "bin" / "torchrun"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(Path(case.megalaunch()).resolve())
    return Launcher("megalaunch", [str(link)], python, version)


def real(python):
    """torch's own for an interpreter, or None when that has no torch, or one whose torchrun cannot start anything: Debian 13
    builds it without libuv, which it asks for."""
    if not shutil.which(str(python)):
        return None
    probe = subprocess.run([str(python), "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if probe.returncode != 0 or "+debian" in probe.stdout:
        return None
    version = tuple(int(n) for n in re.findall(r"\d+", probe.stdout)[:2])
    return Launcher(f"torchrun {probe.stdout.strip()}", [str(python), "-m", "torch.distributed.run"], python, version)


def pythons():
    """Interpreters that may have torch: Debian's, the one of .venv, and those in $MEGALAUNCH_PYTHONS."""
    wanted = ["/usr/bin/python3", str(case.VENV_PYTHON), *os.environ.get("MEGALAUNCH_PYTHONS", "").split(":")]
    return [p for p in wanted if p and os.path.exists(p)]


def newest():
    """The newest of the real launchers, or None."""
    found = [launcher for python in pythons() if (launcher := real(python))]
    return max(found, key=lambda launcher: launcher.version, default=None)


def debians():
    """The launcher of torch 1.13, or None."""
    launcher = real("/usr/bin/python3")
    return launcher if launcher and launcher.version < (2, 0) else None


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)
