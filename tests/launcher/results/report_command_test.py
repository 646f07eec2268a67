#!/usr/bin/env python3
"""Runs `megalaunch report` as a person does: on log directories, on files, on a hand-made table, and wrongly."""

import csv
import io
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

MEGALAUNCH = os.environ.get("MEGALAUNCH", "megalaunch")
SOURCE = pathlib.Path(os.environ.get("MEGALAUNCH_SOURCE", pathlib.Path(__file__).parents[3]))
TABLE = SOURCE / "tests/data/results/measured.csv"
KEYS = ["name", "model", "precision", "gpus", "tp", "pp", "cp", "mbs", "gbs", "seq", "activations", "virtual_stage_layers",
        "tflops_per_gpu", "mfu", "tokens_per_second_per_gpu", "ms_per_iteration", "max_memory_mib", "outcome", "cause", "flags"]
RUN_NAME = ("pretrain-mcore-llama3-1-8B-lr-1e-5-minlr-1e-6-bs-1-gbs-1024-seqlen-8192-pr-fp8-tp-1-pp-2-cp-1-ac-sel-do-true-"
            "sp-true-ti-40-wi-11")


def report(*arguments, status=0):
    done = subprocess.run([MEGALAUNCH, "report", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, (done.returncode, done.stderr)
    return done


def runs(*arguments):
    return json.loads(report(*arguments, "--format", "json").stdout)["runs"]


def iteration(i, total, tflops=607.2, ms=25003.0):
    return (f"[default7]: [2024-11-07 16:27:21] iteration {i:8}/{total:8} | consumed samples: {i * 1024:12} | elapsed time per "
            f"iteration (ms): {ms} | throughput per GPU (TFLOP/s/GPU): {tflops} | learning rate: 1.0E-05 | global batch "
            f"size:  1024 | lm loss: 2.0E+00 | number of skipped iterations:   0 | number of nan iterations:   0 |\n")


class Report(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def test_the_recorded_table_gets_mfu_tokens_flags_and_causes(self):
        rows = runs("--from", TABLE)
        self.assertEqual(len(rows), 83)
        self.assertEqual([list(row) for row in rows], [KEYS] * 83)
        best = next(row for row in rows if row["tflops_per_gpu"] == 644.1)
        self.assertAlmostEqual(best["mfu"], 644.1 / 1978.9)
        self.assertAlmostEqual(best["tokens_per_second_per_gpu"], 1024 * 8192 / 23.5705 / 32)
        flops = [row["name"] for row in rows if any(flag.startswith("flops:") for flag in row["flags"])]
        self.assertEqual(flops, ["llama3.1-8B bf16 tp4 pp2 cp1", "qwen2.5-14B fp8 tp2 pp2 cp1 none vpp 3"])
        kinds = {row["cause"] for row in rows if row["outcome"] == "oom"}
        self.assertEqual(kinds, {"out-of-memory"})
        offload = next(row for row in rows if row["activations"] == "offload" and row["outcome"] == "error")
        self.assertEqual(offload["cause"], "config")

    def test_a_tee_log_of_the_scripts_is_a_row_with_the_settings_of_its_run_name(self):
        log = f"  save ............................................ /out/checkpoint/{RUN_NAME}\n"
        log += "  world_size ...................................... 32\n"
        log += "".join(iteration(i, 40) for i in range(1, 41))
        self.write("logs/training-log-3.20241107T162721.txt", log)
        self.write("logs/training-log-0.20241107T162723.txt",
                   "[Rank 0] (after 1 iterations) memory (MB) | allocated: 1.0 | max reserved: 67710.0\n"
                   "[Rank 16] (after 1 iterations) memory (MB) | allocated: 1.0 | max reserved: 61000.0\n")
        (row,) = runs(self.root)
        want = dict(name="logs", model="llama3.1-8B", precision="fp8", gpus=32, tp=1, pp=2, cp=1, mbs=1, gbs=1024, seq=8192,
                    activations="selective", tflops_per_gpu=607.2, ms_per_iteration=25003.0, max_memory_mib=67710.0,
                    outcome="ok", cause=None, flags=[])
        self.assertEqual({key: row[key] for key in want}, want)

    def test_a_failed_torchrun_directory_has_its_cause(self):
        self.write("none_k3/attempt_0/0/stderr.log", "Traceback (most recent call last):\n  File \"x.py\", line 1, in f\n"
                   "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
        self.write("none_k3/attempt_0/0/stdout.log", iteration(1, 40))
        (row,) = runs(self.root)
        self.assertEqual((row["outcome"], row["cause"]), ("oom", "out-of-memory"))
        self.assertRegex(row["flags"][0], "^iterations: only 1 counted")

    def test_a_recorded_run_is_read_from_its_record_and_samples(self):
        self.write("run/run.json", json.dumps(dict(name="job", model="llama3.1-8b", precision="bf16", gpus=32, nodes=4, tp=2,
                                                   pp=1, cp=1, seq=8192, gbs=1024, outcome="error", cause="device",
                                                   card="NVIDIA A100-SXM4-80GB")))
        self.write("run/samples.jsonl", "".join(
            json.dumps(dict(kind="iteration", t=1730996841 + i, generation=0, rank=31, iteration=i, ms=100.0, tflops=156.0))
            + "\n" for i in range(1, 31)) + '{"kind":"gpu","t":1,"node":0,"gpu":0,"memory_mib":70000.0}\n{"kind":"iter')
        (row,) = runs(self.root / "run", "--min-iterations", "5")
        self.assertEqual((row["name"], row["mfu"], row["max_memory_mib"]), ("job", 0.5, 70000.0))
        self.assertEqual((row["outcome"], row["cause"]), ("error", "device"))
        self.assertEqual([flag.split(":")[0] for flag in row["flags"]], ["flops"])
        (row,) = runs(self.root / "run", "--card", "H100")
        self.assertAlmostEqual(row["mfu"], 156 / 989.4)

    def test_recorded_runs_on_an_h100_have_their_throughput_memory_and_card(self):
        long, short = runs(SOURCE / "tests/data/results/h100")
        self.assertAlmostEqual(long["tflops_per_gpu"], 38.28, 2)
        self.assertEqual((long["ms_per_iteration"], long["max_memory_mib"]), (210.1, 14938.8125))
        self.assertEqual((short["outcome"], short["gpus"], short["gbs"], short["flags"]), ("ok", 1, 8, []))
        self.assertIn("\nMFU is the share of the dense peak for the precision used. H100: ",
                      report(SOURCE / "tests/data/results/h100").stdout)

    def test_runs_of_one_job_are_told_apart_by_their_directories(self):
        for run_id in ("tiny-a", "tiny-b"):
            self.write(f"{run_id}/run.json", json.dumps(dict(name="tiny", run_id=run_id, outcome="ok")))
        self.assertEqual([row["name"] for row in runs(self.root)], ["tiny-a", "tiny-b"])
        self.assertEqual([row["name"] for row in runs(self.root / "tiny-a")], ["tiny"])

    def test_directories_files_and_tables_make_one_report(self):
        one = self.write("a.log", "".join(iteration(i, 40) for i in range(1, 41)))
        rows = list(csv.DictReader(io.StringIO(report(one, self.root, "--from", TABLE, "--format", "csv").stdout)))
        self.assertEqual(list(rows[0]), KEYS)
        self.assertEqual(len(rows), 83 + 2)

    def test_the_report_goes_to_a_file_when_asked(self):
        out = self.root / "report.html"
        self.assertEqual(report("--from", TABLE, "--format", "html", "-o", out).stdout, "")
        self.assertTrue(out.read_text().startswith("<!doctype html>"))
        self.assertIn("write /nonexistent/x", report("--from", TABLE, "-o", "/nonexistent/x", status=1).stderr)

    def test_an_unreadable_record_leaves_the_other_runs(self):
        self.write("bad/run.json", "nonsense")
        self.write("good.log", iteration(1, 1))
        done = report(self.root, "--format", "json")
        self.assertEqual([run["name"] for run in json.loads(done.stdout)["runs"]], ["good.log"])
        self.assertRegex(done.stderr, "left out: read .*bad/run.json: not JSON")

    def test_wrong_usage_is_status_2_with_a_reason(self):
        self.assertIn("report needs a log directory", report(status=2).stderr)
        self.assertIn("/nonexistent: no such file", report("/nonexistent", status=2).stderr)
        self.assertIn("known are H100 PCIe, H100", report("--from", TABLE, "--card", "H1000", status=2).stderr)
        bad = self.write("bad.csv", "model,tp\nx,two\n")
        self.assertIn("bad.csv: line 2: column 'tp': 'two' is not a number", report("--from", bad, status=2).stderr)
        report("--from", TABLE, "--format", "pdf", status=2)

    def test_nothing_below_a_directory_is_an_empty_table_and_a_warning(self):
        done = report(self.root, "--format", "json")
        self.assertEqual(json.loads(done.stdout), {"runs": []})
        self.assertIn("no run.json and no logs", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
