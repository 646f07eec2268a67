"""What every end-to-end test starts from. A file of tests ends with `case.main()`; exit 77 means skipped, with the reason."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import agents, network, processes

SOURCE = Path(os.environ.get("MEGALAUNCH_SOURCE") or Path(__file__).resolve().parents[3])
EXAMPLES = SOURCE / "configs" / "examples"
DEBIAN_PYTHON, VENV_PYTHON = Path("/usr/bin/python3"), SOURCE / ".venv" / "bin" / "python"


def megalaunch():
    """The binary under test: $MEGALAUNCH, or that of the dev build."""
    return os.environ.get("MEGALAUNCH") or str(SOURCE / "build/dev/megalaunch")


def why_no_torch(python):
    """Why this interpreter cannot run torch's ranks, or None."""
    if not python.exists():
        return f"{python} is not there" + ("; scripts/make-venv makes it" if python == VENV_PYTHON else "")
    probe = subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"{python} has no torch: {probe.stderr.strip().splitlines()[-1]}"


class GangTest(unittest.TestCase):
    """A temporary folder, networks and gangs that are taken down whatever happens, and no orphans at the end."""

    maxDiff = None

    def setUp(self):
        reason = network.why_not()
        if reason:
            self.skipTest(reason)
        self.folder = Path(tempfile.mkdtemp(prefix="megalaunch-e2e-"))
        self.addCleanup(self._remove_folder)
        self.gangs = []

    def _remove_folder(self):
        if os.environ.get("MEGALAUNCH_KEEP"):
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def network(self, size):
        net = network.Network(size)
        self.addCleanup(net.close)
        return net

    def write_job(self, job, name="job.yaml"):
        """Writes a job file from a dictionary (JSON is YAML) or as it stands."""
        path = self.folder / name
        if not isinstance(job, str):
            job = json.dumps({"version": 1, "name": "test", "output": str(self.folder / "out"), **job}, indent=2)
        path.write_text(job)
        return path

    def gang(self, job, nodes=1, ranks=2, sets=(), net=None, **options):
        """A gang of `megalaunch run` that is not started yet."""
        argv = [megalaunch(), "run", self.write_job(job)]
        for item in sets:
            argv += ["--set", item]
        return self.gang_of(argv, nodes, ranks, net=net, **options)

    def gang_of(self, argv, nodes, ranks, net=None, **options):
        gang = agents.Gang(net or self.network(nodes), argv, nodes, ranks, self.folder / "out", cwd=SOURCE, **options)
        self.gangs.append(gang)
        self.addCleanup(gang.stop)
        return gang

    def run_gang(self, *arguments, timeout=120, **options):
        gang = self.gang(*arguments, **options).start_all()
        self.codes = gang.wait(timeout)
        self.assert_no_orphans(gang)
        return gang

    def assert_codes(self, gang, code, timeout=120):
        """Every agent ended with this status."""
        codes = gang.wait(timeout)
        self.assertEqual(codes, {node: code for node in gang.agents}, gang.text())

    def assert_no_orphans(self, gang, within=1.0):
        """Nothing lives on the nodes whose agents have ended, from `within` seconds after this call on."""
        try:
            processes.wait_until(lambda: not gang.orphans(), within, "orphans to end")
        except AssertionError:
            left = gang.orphans()
            self.assertEqual(left, [], f"orphans: {processes.describe(left)}\n{gang.text()}")


def sh(script):
    """A command whose ranks run this shell script."""
    return ["/bin/sh", "-c", script]


def main():
    """Runs the tests of the calling file; the exit status is 77 when every one of them was skipped."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.testsRun and len(result.skipped) == result.testsRun:
        print("skipped: " + "; ".join(sorted({reason for _, reason in result.skipped})))
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
