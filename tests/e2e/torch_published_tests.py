#!/usr/bin/env python3
"""torch's own published tests of TCPStore and elastic, as they are: once against torch, once against ours, compared test by test.

    tests/e2e/torch_published_tests.py SOURCE [--python PYTHON] [--only PATTERN]

SOURCE is a tree of pytorch (only test/distributed is read) of the release that PYTHON has, or of one near it. PYTHON needs what
torch.testing._internal imports: expecttest, hypothesis, psutil. MEGALAUNCH names the binary. In the second run every master
TCPStore of the tests and of whatever they start is a client of a `megalaunch store` (lib/torch_on_megalaunch), and
torch.distributed.run.main() is `megalaunch torchrun`. Exit status 1 where a test that torch passes fails with ours and EXPECTED
does not say why. docs/torchrun.md has the table.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILES = ["test_store.py", "elastic/**/*test*.py", "launcher/*test*.py", "test_launcher.py"]

# What passes with torch and not with ours, by a pattern of "file test text": why that is meant to be so.
INSIDE = "the test replaces a part of Python's torchrun in its own process and expects it to be called; ours is a program"
EXPECTED = [
    ("test_store_timeout_on_missing_clients", "only the process that hosts torch's store waits for its clients; ours is hosted by another"),
    ("test_launch_elastic_agent_raise_exception|test_launch_shutdown|test_launch_elastic_worker_raise_exception", INSIDE),
    ("logs.spec.*names a Python plug-in", "--logs-specs names a Python plug-in: refused (docs/torchrun.md)"),
    ("test_init_method.*exitcode  : 134", "the script does not destroy its process group, and torch may abort while Python ends: here "
     "and under torchrun alike, whose exit status shows it as seldom"),
]


def run_file(file, python, ours, flags):
    """{test: (outcome, text)}"""
    with tempfile.TemporaryDirectory() as scratch:
        results = pathlib.Path(scratch) / "results"
        environment = {**os.environ, "TMPDIR": scratch}
        for name in ("MEGALAUNCH", "MASTER_ADDR", "MASTER_PORT"):
            environment.pop(name, None)
        paths = environment.get("PYTHONPATH", "").split(":")
        if ours:
            environment["MEGALAUNCH"] = str(flags.megalaunch)
            paths.insert(0, str(HERE / "lib" / "torch_on_megalaunch"))
        environment["PYTHONPATH"] = ":".join(path for path in paths if path)
        outcomes = {}
        for _ in range(300):  # again without those that failed, hung or ended the process
            try:
                process = subprocess.run([python, HERE / "lib" / "torch_test_runner.py", file, results, str(flags.limit)],
                                         env=environment, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                         timeout=flags.file_limit)
                status, said = process.returncode, process.stderr[-300:]
            except subprocess.TimeoutExpired:
                outcomes["<file>"] = ("hung or died", f"not done in {flags.file_limit} s")
                break
            begun = set()
            for line in results.read_text().splitlines() if results.exists() else []:
                entry = json.loads(line)
                begun.add(entry["name"])
                if "outcome" in entry:
                    outcomes[entry["name"]] = (entry["outcome"], entry["text"])
            for name in begun - outcomes.keys():
                outcomes[name] = ("hung or died", f"{status}: {said}")
            if outcomes.pop("<end>", None) or "<import>" in outcomes or not begun:
                break
        return outcomes


def reason_for(name):
    return next((reason for pattern, reason in EXPECTED if re.search(pattern, name, re.DOTALL)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--megalaunch", default=os.environ.get("MEGALAUNCH", ROOT / "build/dev/megalaunch"))
    parser.add_argument("--only", default="", help="a regular expression of file names below test/distributed")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one test")
    parser.add_argument("--file-limit", type=float, default=900, help="seconds for one file")
    flags = parser.parse_args()
    base = flags.source.resolve() / "test" / "distributed"
    files = sorted({file for pattern in FILES for file in base.glob(pattern) if "bin" not in file.parts})
    files = [file for file in files if re.search(flags.only, str(file.relative_to(base)))]
    if not files:
        raise SystemExit(f"{base}: no such tests")
    counts = {"same": 0, "passed by both": 0, "skipped by both": 0, "failed by both": 0, "expected": 0, "only ours passes": 0, "wrong": 0}
    for file in files:
        name = str(file.relative_to(base))
        theirs, ours = run_file(file, flags.python, False, flags), run_file(file, flags.python, True, flags)
        print(f"{name}: {len(theirs)} tests, {sum(outcome == 'passed' for outcome, _ in theirs.values())} pass with torch, "
              f"{sum(outcome == 'passed' for outcome, _ in ours.values())} with ours", flush=True)
        for test in sorted(theirs.keys() | ours.keys()):
            a, b = theirs.get(test, ("missing", "")), ours.get(test, ("missing", ""))
            if a[0] == b[0]:
                counts["same"] += 1
                kind = a[0] if a[0] in ("passed", "skipped") else "failed"
                counts[f"{kind} by both"] += 1
                if kind == "failed":
                    print(f"    both {a[0]}: {test}: {a[1][:160]}")
                continue
            if b[0] == "passed":
                counts["only ours passes"] += 1
                print(f"    torch {a[0]}, ours passed: {test}: {a[1][:200]}")
                continue
            reason = reason_for(f"{name} {test} {b[1]}")
            counts["expected" if reason else "wrong"] += 1
            print(f"    torch {a[0]}, ours {b[0]}: {test}: {reason or b[1][:300]}", flush=True)
    print(", ".join(f"{key}: {value}" for key, value in counts.items()))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
