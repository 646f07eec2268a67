"""Runs the tests of one file one by one: torch_test_runner.py FILE RESULTS SECONDS. A line of JSON per test goes to RESULTS: first
its name alone, so that a test which ends the process is known by name, then what came of it. Tests in RESULTS are not run again.
A test that fails ends the process as well; the line "<end>" says that there are no more."""

import faulthandler
import importlib
import json
import os
import pathlib
import sys
import unittest


class Recorder(unittest.TestResult):
    outcome, text = "passed", ""

    def note(self, outcome, error=None):
        if self.outcome == "passed" or outcome in ("failed", "error"):
            self.outcome = outcome
            self.text = str(error).split("\\n\\nTo execute this test")[0][-600:] if error else ""

    def addError(self, test, error):
        self.note("error", repr(error[1]))

    def addFailure(self, test, error):
        self.note("failed", repr(error[1]))

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note("failed", repr(error[1]))

    def addSkip(self, test, reason):
        self.note("skipped", reason)


def flatten(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flatten(each)
        else:
            yield each


def main():
    file, results, limit = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), float(sys.argv[3])
    done = {json.loads(line)["name"] for line in results.read_text().splitlines()} if results.exists() else set()
    # As if the file had been started by hand.
    sys.argv[:] = [str(file)]
    sys.path[0] = str(file.parent)
    sys.path.insert(1, str(next(parent for parent in file.parents if parent.name == "test")))
    if "MEGALAUNCH" in os.environ:
        import sitecustomize
        import torch.distributed.run
        sitecustomize.run_ours(torch.distributed.run)
    with results.open("a", buffering=1) as out:
        def say(**what):
            out.write(json.dumps(what) + "\n")

        try:
            module = importlib.import_module(file.stem)
        except (Exception, SystemExit) as error:  # a file that exits says that it cannot run here
            say(name="<import>", outcome="skipped" if isinstance(error, SystemExit) else "error", text=repr(error)[-400:])
            return
        for test in flatten(unittest.defaultTestLoader.loadTestsFromModule(module)):
            name = test.id()
            if name in done:
                continue
            say(name=name)
            faulthandler.dump_traceback_later(limit, exit=True)
            recorder = Recorder()
            unittest.TestSuite([test])(recorder)
            faulthandler.cancel_dump_traceback_later()
            say(name=name, outcome=recorder.outcome, text=recorder.text)
            if recorder.outcome in ("failed", "error"):
                return  # the next one must not find what this one left behind
        say(name="<end>", outcome="passed", text="")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a test's stray threads do not hold the next file up
