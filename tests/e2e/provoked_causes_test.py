"""Makes real torch ranks fail and asks `megalaunch diagnose` why: the rules must know what torch itself prints.

Each rank is a plain process with torch's environment, its output in torchrun's layout. Runs with every interpreter that
has torch: Debian's, the one of .venv, and those in $MEGALAUNCH_PYTHONS (colon-separated). Exit 77: none has.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lib import meeting  # noqa: E402

SOURCE = Path(os.environ.get("MEGALAUNCH_SOURCE") or Path(__file__).resolve().parents[2])
MEGALAUNCH = os.environ.get("MEGALAUNCH") or str(SOURCE / "build/dev/launcher/cli/megalaunch")

PRELUDE = meeting.MEET + """
import signal, sys
rank = int(os.environ["RANK"])
no_libuv = {"use_libuv": False} if "+debian" in torch.__version__ else {}
def join(seconds=60):
    meet("gloo", seconds)
    tensor = torch.ones(4)
    dist.all_reduce(tensor)
    print("joined", flush=True)
    return tensor
def train(tensor):
    while True:
        dist.all_reduce(tensor)
"""


def torch_version(python):
    """The version of the interpreter's torch, or None."""
    try:
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    except OSError:
        return None
    return probe.stdout.strip() if probe.returncode == 0 else None


def pythons():
    wanted = ["/usr/bin/python3", str(SOURCE / ".venv/bin/python"), *os.environ.get("MEGALAUNCH_PYTHONS", "").split(":")]
    return {python: version for python in dict.fromkeys(filter(None, wanted)) if (version := torch_version(python))}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Ranks:
    """Three ranks of one script, in <folder>/attempt_0/<local rank>/."""

    def __init__(self, python, folder, script, world=3, store=True, environment=None):
        self.folder, self.processes = folder, []
        path = folder / "script.py"
        path.write_text(PRELUDE + textwrap.dedent(script))
        port = free_port()
        self.store = None
        if store:
            keep = ("import datetime, sys, time, torch, torch.distributed as d\n"
                    "no_libuv = {'use_libuv': False} if '+debian' in torch.__version__ else {}\n"
                    "s = d.TCPStore('127.0.0.1', int(sys.argv[1]), None, True, wait_for_workers=False, **no_libuv)\n"
                    "print('up', flush=True)\ntime.sleep(600)")
            self.store = subprocess.Popen([python, "-c", keep, str(port)], stdout=subprocess.PIPE, text=True)
            self.store.stdout.readline()
        for rank in range(world):
            logs = folder / "attempt_0" / str(rank)
            logs.mkdir(parents=True)
            variables = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
                         "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
                         "TORCHELASTIC_USE_AGENT_STORE": str(store), "TORCHELASTIC_RESTART_COUNT": "0",
                         "OMP_NUM_THREADS": "1", **(environment or {})}
            with open(logs / "stdout.log", "wb") as out, open(logs / "stderr.log", "wb") as err:
                self.processes.append(subprocess.Popen([python, "-u", path], stdout=out, stderr=err, env=variables))

    def wait_until_printed(self, text, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            logs = [(self.folder / "attempt_0" / str(i) / "stdout.log").read_text() for i in range(len(self.processes))]
            if all(text in log for log in logs):
                return
            time.sleep(0.05)
        raise AssertionError(f"no '{text}' from all ranks in {timeout} s: {logs}")

    def wait(self, timeout=60):
        """Until all have ended; those that still run then are stopped, as a launcher does."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and any(p.poll() is None for p in self.processes):
            time.sleep(0.05)
        self.close()

    def close(self):
        for process in [*self.processes, self.store]:
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
                if process.stdout:
                    process.stdout.close()


class ProvokedCauses(unittest.TestCase):
    def provoke(self, script, timeout=60, act=None, **options):
        """One diagnosis per torch."""
        found = []
        for python, version in PYTHONS.items():
            with tempfile.TemporaryDirectory() as folder:
                ranks = Ranks(python, Path(folder), script, **options)
                try:
                    if act:
                        act(ranks)
                    ranks.wait(timeout)
                finally:
                    ranks.close()
                done = subprocess.run([MEGALAUNCH, "diagnose", "--json", folder], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                found.append({"torch": version, **json.loads(done.stdout)})
        return found

    def check(self, diagnosis, kind, retry, rank=None):
        place = diagnosis["first"] or {}
        self.assertEqual(diagnosis["kind"], kind, diagnosis)
        self.assertEqual(diagnosis["retry"], retry, diagnosis)
        if rank is not None:
            self.assertEqual(place.get("rank"), rank, diagnosis)

    def test_a_missing_module_on_one_rank(self):
        for found in self.provoke("if rank == 1: import no_such_module\njoin(5)", timeout=30):
            self.check(found, "config", False, 1)

    def test_an_assertion_after_the_start(self):
        script = "tensor = join()\nif rank == 2:\n    assert 7 % 2 == 0, 'layers must be divisible by 2'\ntrain(tensor)"
        for found in self.provoke(script):
            self.check(found, "config", False, 2)
            self.assertIn("layers must be divisible by 2", found["first"]["text"])
            self.assertEqual({victim["rank"] for victim in found["victims"]}, {0, 1}, found)

    def test_a_wrong_argument(self):
        script = ("import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float)\n"
                  "parser.parse_args(['--lr', 'x'] if rank == 0 else [])\njoin(5)")
        for found in self.provoke(script, timeout=30):
            self.check(found, "config", False, 0)

    def test_a_missing_file(self):
        for found in self.provoke("tensor = join()\nif rank == 1: open('/no/such/file.idx')\ntrain(tensor)"):
            self.check(found, "config", False, 1)

    def test_a_damaged_checkpoint(self):
        script = ("tensor = join()\nif rank == 2:\n    torch.save({'a': torch.ones(1000)}, 'c.pt')\n"
                  "    data = open('c.pt', 'rb').read()\n    open('c.pt', 'wb').write(data[:len(data) // 2])\n"
                  "    torch.load('c.pt')\ntrain(tensor)")
        for found in self.provoke("os_dir = os.path.dirname(os.path.abspath(__file__))\nos.chdir(os_dir)\n" + script):
            self.check(found, "data", False, 2)

    def test_a_checkpoint_of_another_shape(self):
        script = ("tensor = join()\nif rank == 0:\n    torch.nn.Linear(4, 4).load_state_dict(torch.nn.Linear(4, 8).state_dict())\n"
                  "train(tensor)")
        for found in self.provoke(script):
            self.check(found, "config", False, 0)

    def test_no_memory_on_the_host(self):
        script = "tensor = join()\nif rank == 1: torch.empty(1 << 60, dtype=torch.uint8)\ntrain(tensor)"
        for found in self.provoke(script):
            self.check(found, "host-out-of-memory", True, 1)

    def test_an_index_beyond_the_vocabulary(self):
        script = ("tensor = join()\nif rank == 1: torch.nn.Embedding(10, 4)(torch.tensor([12]))\ntrain(tensor)")
        for found in self.provoke(script):
            self.check(found, "data", False, 1)

    def test_a_rank_killed_while_training(self):
        def kill(ranks):
            ranks.wait_until_printed("joined")
            ranks.processes[1].kill()
        for found in self.provoke("train(join())", act=kill):
            self.check(found, "network", True)
            self.assertFalse(found["certain"], found)

    def test_a_rank_that_dies_before_it_has_joined(self):
        script = "if rank == 2: os.kill(os.getpid(), signal.SIGKILL)\njoin(4)"
        for found in self.provoke(script, timeout=40):
            self.assertIn(found["kind"], ("store", "network"), found)
            self.assertTrue(found["retry"], found)
            self.assertFalse(found["certain"], found)

    def test_the_store_dies_while_ranks_wait_in_it(self):
        script = ("store = dist.TCPStore('127.0.0.1', int(os.environ['MASTER_PORT']), None, False,\n"
                  "    timeout=datetime.timedelta(seconds=60), **no_libuv)\nprint('joined', flush=True)\nstore.get('never')")
        def kill(ranks):
            ranks.wait_until_printed("joined")
            ranks.store.kill()
        for found in self.provoke(script, act=kill):
            self.check(found, "store", True)
            self.assertFalse(found["certain"], found)

    def test_no_store_at_all(self):
        script = ("dist.TCPStore('127.0.0.1', int(os.environ['MASTER_PORT']), None, False,\n"
                  "    timeout=datetime.timedelta(seconds=2), **no_libuv)")
        for found in self.provoke(script, store=False):
            self.check(found, "store", True)

    def test_a_port_that_another_program_has(self):
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            script = "if rank == 0: join(3)"
            for found in self.provoke(script, world=1, store=False, environment={"MASTER_PORT": port}):
                self.check(found, "store", False, 0)

    def test_a_name_that_does_not_resolve(self):
        script = "import socket\nsocket.getaddrinfo('no-such-host.invalid', 29500)"
        for found in self.provoke(script, world=1, store=False):
            self.check(found, "network", True)

    def test_a_crash_in_native_code(self):
        script = ("import faulthandler; faulthandler.enable()\ntensor = join()\n"
                  "if rank == 1: os.kill(os.getpid(), signal.SIGSEGV)\ntrain(tensor)")
        for found in self.provoke(script):
            self.check(found, "signal", True, 1)

    def test_an_error_that_nobody_knows(self):
        script = "tensor = join()\nif rank == 2: raise RuntimeError('the flux capacitor is not charged')\ntrain(tensor)"
        for found in self.provoke(script):
            self.check(found, "config", False, 2)
            self.assertFalse(found["certain"], found)

    def test_an_error_that_nobody_knows_after_training_began(self):
        script = ("tensor = join()\nprint(' iteration 1/ 10 | lm loss: 1.0E+00 |', flush=True)\n"
                  "if rank == 2: raise RuntimeError('the flux capacitor is not charged')\ntrain(tensor)")
        for found in self.provoke(script):
            self.check(found, "unknown", True, 2)

    def test_an_error_file_of_the_record_decorator(self):
        script = ("from torch.distributed.elastic.multiprocessing.errors import record\n"
                  "os.environ['TORCHELASTIC_ERROR_FILE'] = os.path.join(os.path.dirname(os.path.abspath(__file__)),\n"
                  "    'attempt_0', str(rank), 'error.json')\n"
                  "@record\ndef main():\n    tensor = join()\n    if rank == 1: raise KeyError('no such layer')\n    train(tensor)\nmain()")
        for found in self.provoke(script):
            self.check(found, "config", False, 1)


PYTHONS = pythons()

if __name__ == "__main__":
    if not PYTHONS:
        print("skipped: no interpreter with torch (see scripts/make-venv, or set MEGALAUNCH_PYTHONS)")
        sys.exit(77)
    print("torch: " + ", ".join(PYTHONS.values()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    unittest.main(verbosity=2)
