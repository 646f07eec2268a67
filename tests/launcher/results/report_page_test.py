#!/usr/bin/env python3
"""Opens the HTML report in a headless Chromium, at desktop and phone width, and looks at what it shows.

Makes torchrun-like logs of six runs, lets $MEGALAUNCH report on them and on the recorded table, and checks the page from
inside. Screenshots go to report_page_screenshots/ in the working directory. Exit 77: there is no Chromium.
"""

import json
import math
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

MEGALAUNCH = os.environ.get("MEGALAUNCH", "megalaunch")
SOURCE = pathlib.Path(os.environ.get("MEGALAUNCH_SOURCE", pathlib.Path(__file__).parents[3]))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SHOTS = pathlib.Path("report_page_screenshots").absolute()

LLAMA_8B = dict(num_layers=32, hidden_size=4096, ffn_hidden_size=14336, num_attention_heads=32, num_query_groups=8,
                padded_vocab_size=128256)
QWEN_14B = dict(num_layers=48, hidden_size=5120, ffn_hidden_size=13824, num_attention_heads=40, num_query_groups=8,
                padded_vocab_size=152064)

# name, model, FLOPs of an iteration, TP, PP, TFLOP/s, iterations, of, MiB of the first stage, last words
RUNS = [
    ("8b-fp8-pp2", LLAMA_8B, 4.858082e17, 1, 2, 644.1, 400, 400, 72542, ""),
    ("8b-fp8-tp2-pp2", LLAMA_8B, 4.858082e17, 2, 2, 582.4, 300, 300, 34000, ""),
    ("14b-fp8-tp2-pp2", QWEN_14B, 9.068332e17, 2, 2, 629.6, 230, 500, 66930,
     "Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"),
    ("14b-fp8-tp4-pp2", QWEN_14B, 9.068332e17, 4, 2, 570.3, 6, 500, 38694, ""),
    ("14b-wrong-gpus", QWEN_14B, 9.068332e17 / 2, 2, 4, 558.0, 200, 200, 57212, ""),
    ("never-started", QWEN_14B, 1, 2, 4, 0, 0, 200, 0, "Traceback (most recent call last):\nValueError: no\n"),
]

# What the page says of itself, asked by a script that the test adds to a copy of it. The copy is shown in a frame, because a
# headless window may refuse to be as narrow as a phone.
FRAME = """<!doctype html><title>waiting</title><script>addEventListener("message", e => document.title = e.data)</script>
<iframe src="{}" style="border:0;width:{}px;height:1200px"></iframe>"""
QUESTION = """<script>addEventListener("load", () => setTimeout(() => {
  const all = (s, f) => [...document.querySelectorAll(s)].map(f);
  const box = e => e.getBoundingClientRect();
  parent.postMessage(JSON.stringify({
    ready: document.body.dataset.ready, error: document.body.dataset.error ?? null,
    overflow: document.documentElement.scrollWidth - innerWidth, width: innerWidth,
    rows: all("#runs tbody tr", r => r.cells[0].innerText), bars: all("#compare .bar", b => box(b).width),
    throughput: all("#throughput .series", p => p.getAttribute("d").length), loss: all("#loss .series", p => box(p).height),
    memory: all("#memory .memory-bar", b => box(b).height), flags: all("#flags li", f => f.innerText),
    columns: getComputedStyle(document.querySelector(".grid")).gridTemplateColumns.split(" ").length,
    outside: all(".chart svg text", t => box(t)).filter(b => b.left < -1 || b.right > innerWidth + 1).length,
    loaded: performance.getEntriesByType("resource").length, ground: getComputedStyle(document.body).backgroundColor,
  }), "*");
}, 300))</script>"""


def write_logs(root):
    random.seed(7)
    gpus, batch = 32, 1024
    for name, sizes, flops, tp, pp, tflops, done, total, mib, last in RUNS:
        attempt = root / name / "20241107T162721" / "none_k3" / "attempt_0"
        for rank in (0, 7):
            (attempt / str(rank)).mkdir(parents=True)
        arguments = dict(sizes, world_size=gpus, tensor_model_parallel_size=tp, pipeline_model_parallel_size=pp,
                         context_parallel_size=1, micro_batch_size=1, global_batch_size=batch, seq_length=8192, bf16=True,
                         fp8="hybrid", group_query_attention=True, swiglu=True, recompute_granularity=None)
        with open(attempt / "0" / "stdout.log", "w") as log:
            for key, value in arguments.items():
                log.write(f"[default0]:  {key} {'.' * (48 - len(key))} {value}\n")
            if mib:
                for stage in range(pp):
                    log.write(f"[Rank {stage * gpus // pp}] (after 1 iterations) memory (MB) | allocated: 1.0 | "
                              f"max allocated: {mib - 4000} | reserved: 1.0 | max reserved: {mib - 2000 * stage}\n")
        with open(attempt / "7" / "stdout.log", "w") as log:
            for i in range(1, done + 1):
                speed = round(tflops * (0.3 if i == 1 else 0.8 if i % 97 == 0 else 1 + random.gauss(0, 0.004)), 1)
                ms = flops / (speed * 1e12 * gpus) * 1000
                loss = 1.9 + 9.5 * math.exp(-i / 60) + random.gauss(0, 0.03)
                log.write(f"[default7]: [2024-11-07 16:27:21] iteration {i:8}/{total:8} | consumed samples: {i * batch:12} | "
                          f"elapsed time per iteration (ms): {ms:.1f} | throughput per GPU (TFLOP/s/GPU): {speed:.1f} | "
                          f"learning rate: 1.0E-05 | global batch size: {batch:5} | lm loss: {loss:.6E} | loss scale: 1.0 | "
                          f"grad norm: 1.2 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")
            log.write(last)


def chromium(page, width, height, *flags):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
               f"--window-size={width},{height}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


class ReportPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.directory.name)
        logs = cls.root / "logs"
        write_logs(logs)
        cls.runs = cls.report("runs.html", logs)
        cls.recorded = cls.report("h100.html", SOURCE / "tests/data/results/h100")
        cls.table = cls.report("table.html", "--from", SOURCE / "tests/data/results/measured.csv")
        SHOTS.mkdir(exist_ok=True)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @classmethod
    def report(cls, name, *arguments):
        page = cls.root / name
        subprocess.run([MEGALAUNCH, "report", *map(str, arguments), "--format", "html", "--output", str(page)], check=True)
        return page

    def ask(self, page, width, *flags):
        asking = page.with_suffix(".asking.html")
        asking.write_text(page.read_text().replace("</body>", QUESTION + "</body>"))
        frame = page.with_suffix(".frame.html")
        frame.write_text(FRAME.format(asking.name, width))
        dom = chromium(frame, 1400, 1300, "--dump-dom", "--virtual-time-budget=3000", *flags)
        title = re.search(r"<title>(.*?)</title>", dom, re.S).group(1)
        answer = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        self.assertEqual((answer["ready"], answer["error"]), ("yes", None))
        self.assertEqual(answer["width"], width)
        return answer

    def screenshot(self, page, width, height, *flags):
        shot = SHOTS / f"{page.stem}-{width}{'-dark' if flags else ''}.png"
        chromium(page, width, height, f"--screenshot={shot}", *flags)
        data = shot.read_bytes()
        self.assertEqual(struct.unpack(">II", data[16:24]), (width, height))
        self.assertGreater(len(data), 40_000, "an empty page compresses to less")

    def test_a_desktop_sees_all_plots_and_rows(self):
        page = self.ask(self.runs, 1280)
        self.assertEqual(len(page["rows"]), len(RUNS))
        self.assertEqual(len(page["bars"]), 5)
        self.assertEqual(page["bars"], sorted(page["bars"], reverse=True))
        self.assertEqual(len(page["throughput"]), 5)
        self.assertTrue(all(length > 50 for length in page["throughput"]))
        self.assertTrue(max(page["loss"]) > 100, page["loss"])
        self.assertEqual(len(page["memory"]), 2)
        self.assertEqual(page["columns"], 2)
        self.assertLessEqual(page["overflow"], 0)
        self.assertEqual(page["outside"], 0)
        self.assertEqual(page["loaded"], 0)

    def test_flags_are_shown_with_their_runs(self):
        flags = self.ask(self.runs, 1280)["flags"]
        self.assertEqual(len(flags), 2)
        self.assertRegex(flags[0], r"14b-fp8-tp4-pp2\s+iterations: only 3 counted")
        self.assertRegex(flags[1], r"14b-wrong-gpus\s+flops: 55\d\.\d TFLOP/s .* 0\.50 times .* it fits 64 GPUs")

    def test_two_recorded_runs_on_an_h100_show_the_drivers_memory(self):
        for width in (1280, 390):
            page = self.ask(self.recorded, width)
            self.assertEqual(page["rows"], ["gpt-12-layers", "gpt-24-layers"])
            self.assertEqual((len(page["throughput"]), len(page["loss"]), len(page["memory"])), (2, 2, 1))
            self.assertGreater(page["memory"][0], 100)
            self.assertEqual((page["outside"], page["flags"]), (0, []))
            self.assertLessEqual(page["overflow"], 0)

    def test_a_phone_sees_one_column_and_nothing_wider_than_itself(self):
        for report in (self.runs, self.table):
            page = self.ask(report, 390)
            self.assertEqual(page["columns"], 1)
            self.assertLessEqual(page["overflow"], 0)
            self.assertEqual(page["outside"], 0)

    def test_a_hand_made_table_has_no_empty_plots(self):
        page = self.ask(self.table, 1280)
        self.assertEqual(len(page["rows"]), 83)
        self.assertEqual(len(page["bars"]), 30)
        self.assertEqual((page["throughput"], page["loss"], page["memory"]), ([], [], []))
        self.assertEqual(len(page["flags"]), 3)

    def test_the_dark_scheme_is_dark(self):
        dark = "--blink-settings=preferredColorScheme=0"
        self.assertEqual(self.ask(self.runs, 1280, dark)["ground"], "rgb(15, 18, 22)")
        self.assertEqual(self.ask(self.runs, 390)["ground"], "rgb(246, 247, 249)")

    def test_screenshots_are_taken_at_both_widths(self):
        self.screenshot(self.runs, 1280, 2000)
        self.screenshot(self.runs, 390, 2800)
        self.screenshot(self.recorded, 1280, 1300)
        self.screenshot(self.recorded, 390, 2000)
        self.screenshot(self.table, 1280, 2400)
        self.screenshot(self.table, 390, 2400)
        self.screenshot(self.runs, 1280, 2000, "--blink-settings=preferredColorScheme=0")


if __name__ == "__main__":
    if CHROMIUM is None:
        print("skipped: no chromium, chromium-browser or google-chrome in PATH")
        sys.exit(77)
    unittest.main(verbosity=2)
