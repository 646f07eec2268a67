#!/usr/bin/env python3
"""Shell completion, asked of the shells themselves: scripts/completion.bash and what torchrun --print-completion prints."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from lib import case

# What bash does when somebody presses the tabulator behind the last of the words.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
compopt() { :; }
eval "$(complete -p "$(basename "$1")" | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


class Completion(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "torchrun").symlink_to(case.megalaunch())
        (self.folder / "megalaunch").symlink_to(case.megalaunch())
        (self.folder / "train.py").touch()

    def run_in(self, *command):
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(command, cwd=self.folder, env={**os.environ, "PATH": path}, check=True, capture_output=True,
                              text=True, timeout=30).stdout

    def written(self, shell):
        script = self.folder / f"completion.{shell}"
        script.write_text(self.run_in("torchrun", "--print-completion", shell))
        return script

    def bash(self, script, *words):
        return self.run_in("bash", "-c", BASH, "bash", script, *words).split()

    def test_bash_completes_options_choices_and_files_of_torchrun(self):
        script = self.written("bash")
        self.assertEqual(self.bash(script, "torchrun", "--nproc"), ["--nproc-per-node"])
        self.assertEqual(self.bash(script, "torchrun", "--nproc_per"), ["--nproc-per-node"])
        self.assertEqual(self.bash(script, "torchrun", "--start-method", "fork"), ["fork", "forkserver"])
        self.assertEqual(self.bash(script, "torchrun", "--start_method", "fork"), ["fork", "forkserver"])
        self.assertEqual(self.bash(script, "torchrun", "--nnodes", "2", "tra"), ["train.py"])
        self.assertEqual(self.bash(script, "torchrun", "--nnodes", "2", "x.py", "--nproc"), [], "an option of the script")

    def test_bash_completes_subcommands_and_options_of_megalaunch(self):
        script = case.SOURCE / "scripts" / "completion.bash"
        self.assertIn("diagnose", self.bash(script, "megalaunch", "dia"))
        self.assertIn("--json", self.bash(script, "megalaunch", "render", "--js"))
        self.assertEqual(self.bash(script, "megalaunch", "run", "tra"), ["train.py"])

    def test_zsh_takes_the_script(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not installed")
        script = self.written("zsh")
        shown = self.run_in("zsh", "-f", "-c", f"autoload -Uz compinit; compinit -u -D; source {script}; print -r -- $_comps[torchrun]")
        self.assertEqual(shown.strip(), "_torchrun")

    def test_tcsh_takes_the_script(self):
        if not shutil.which("tcsh"):
            self.skipTest("tcsh is not installed")
        self.written("tcsh")
        shown = self.run_in("tcsh", "-f", "-c", "source completion.tcsh; complete torchrun")
        self.assertIn("n/--start-method/(spawn fork forkserver)/", shown)


if __name__ == "__main__":
    case.main()
