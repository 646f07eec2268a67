#!/usr/bin/env python3
"""Tests of scripts/: what people see and type."""

import os
import subprocess
import sys
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("MEGALAUNCH_SOURCE") or Path(__file__).resolve().parents[1])
BINARY = os.environ.get("MEGALAUNCH") or str(SOURCE / "build/dev/megalaunch")
LINE = ("[0:3]  [2026-11-24 09:42:22] iteration {:8d}/     100 | consumed samples:          160 | elapsed time per iteration (ms): 250.0 "
        "| throughput per GPU (TFLOP/s/GPU): 0.001 | learning rate: 8.0E-03 | global batch size:    16 | lm loss: {:E} | loss scale: 1.0 |\n")


class View(unittest.TestCase):
    def view(self, text):
        return subprocess.run([sys.executable, SOURCE / "scripts/view"], input=text, capture_output=True, text=True, check=True,
                              encoding="utf-8").stdout.splitlines()

    def test_an_iteration_line_becomes_a_bar_that_shrinks_with_the_loss(self):
        first, second = self.view(LINE.format(1, 4.0) + LINE.format(60, 2.0))
        self.assertEqual(first.split(), ["iteration", "1/100", "loss", "4.000", "█" * 32, "250.0", "ms", "each,", "25", "s", "left"])
        self.assertEqual(second.split(), ["iteration", "60/100", "loss", "2.000", "█" * 16, "250.0", "ms", "each,", "10", "s", "left"])

    def test_every_other_line_passes_as_it_is(self):
        text = "[0:0] saving checkpoint at iteration      20 to x\nmegalaunch 09:00 info: hello\n"
        self.assertEqual(self.view(text), text.splitlines())


class Completion(unittest.TestCase):
    def complete(self, *words):
        script = f"""source {SOURCE}/scripts/completion.bash
            COMP_WORDS=("$@"); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); _megalaunch; printf '%s\\n' "${{COMPREPLY[@]}}" """
        run = subprocess.run(["bash", "-c", script, "bash", BINARY, *words], capture_output=True, text=True, cwd=SOURCE)
        return run.stdout.split()

    def test_subcommands_flags_and_files(self):
        self.assertIn("render", self.complete("re"))
        self.assertNotIn("run", self.complete("re"))
        self.assertIn("--set", self.complete("run", "--s"))
        self.assertIn("configs/examples/gpt.yaml", self.complete("run", "configs/examples/gpt.y"))


if __name__ == "__main__":
    unittest.main()
