#!/usr/bin/env python3
"""Runs every operation of torch's Python Store API against a key-value store: the same program, the same expectations,
against `megalaunch store` and against torch's own server.

    torch_store_suite.py                       both servers, under every Python with torch that can be found
    torch_store_suite.py --server HOST:PORT    one running store, under this Python
    torch_store_suite.py --torch               torch's own server, under this Python

Pythons: MEGALAUNCH_PYTHONS (colon-separated), else /usr/bin/python3 and .venv/bin/python of the source tree. The binary
is MEGALAUNCH. Exit 77: none of the Pythons has torch.
"""

import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

SHORT = datetime.timedelta(milliseconds=1000)
LONG = datetime.timedelta(seconds=30)


class Suite:
    """One test per method. `results` collects what each returned or raised, so that two servers can be compared."""

    def __init__(self, connect):
        self.connect = connect  # -> a new client
        self.store = connect()
        self.results = {}

    def note(self, name, action):
        try:
            value = action()
        except Exception as error:  # what it raises is part of the result
            # Numbers, addresses and stack frames differ from run to run; type and sentence must not.
            text = re.sub(r"\d+", "N", str(error).split("\n")[0].split("Exception raised from")[0])
            value = (type(error).__name__, re.sub(r"SocketImpl\(.*?\]\)", "SOCKET", text))
        self.results[name] = value
        return value

    def expect(self, name, action, expected):
        got = self.note(name, action)
        assert got == expected, f"{name}: got {got!r}, expected {expected!r}"

    def has(self, name):
        # 1.13's bindings have fewer operations than its server.
        return hasattr(self.store, name)

    def set_and_get(self):
        store = self.store
        self.expect("set", lambda: store.set("k", "v"), None)
        self.expect("get", lambda: store.get("k"), b"v")
        self.expect("overwrite", lambda: (store.set("k", "w"), store.get("k"))[1], b"w")
        self.expect("empty value", lambda: (store.set("empty", ""), store.get("empty"))[1], b"")
        self.expect("empty key", lambda: (store.set("", "x"), store.get(""))[1], b"x")
        self.expect("unicode", lambda: (store.set("schlüssel", "größe"), store.get("schlüssel"))[1], "größe".encode())
        self.expect("zero bytes", lambda: (store.set("a\0b", "c\0d"), store.get("a\0b"))[1], b"c\0d")
        self.expect("long key", lambda: (store.set("k" * 5000, "x"), store.get("k" * 5000))[1], b"x")
        for size in (127, 128, 1439, 1440, 1441, 65536, 3_000_000):
            value = "".join(chr(97 + i % 26) for i in range(min(size, 26))) * (size // 26 + 1)
            self.expect(f"value of {size}", lambda: (store.set("big", value[:size]), store.get("big"))[1], value[:size].encode())

    def numbers(self):
        store = self.store
        self.expect("add", lambda: store.add("n", 5), 5)
        self.expect("add negative", lambda: store.add("n", -7), -2)
        self.expect("add zero", lambda: store.add("n", 0), -2)
        self.expect("add reads as text", lambda: store.get("n"), b"-2")
        self.expect("add to text", lambda: (store.set("t", "41"), store.add("t", 1))[1], 42)
        self.expect("add to spaced text", lambda: (store.set("t", " 7x"), store.add("t", 1))[1], 8)
        self.expect("add large", lambda: store.add("huge", 2**62), 2**62)

    def compare_set(self):
        store = self.store
        self.expect("compare_set missing, empty", lambda: store.compare_set("c", "", "q"), b"q")
        self.expect("compare_set missing, other", lambda: store.compare_set("cc", "a", "q"), b"a")
        self.expect("compare_set differs", lambda: store.compare_set("c", "no", "r"), b"q")
        self.expect("compare_set equals", lambda: store.compare_set("c", "q", "r"), b"r")
        self.expect("compare_set stored", lambda: store.get("c"), b"r")

    def keys(self):
        store = self.store
        before = store.num_keys()
        store.set("key1", "1")
        store.add("key2", 1)
        self.expect("num_keys", lambda: store.num_keys() - before, 2)
        self.expect("delete", lambda: store.delete_key("key1"), True)
        self.expect("delete again", lambda: store.delete_key("key1"), False)
        self.expect("num_keys after delete", lambda: store.num_keys() - before, 1)
        if self.has("check"):
            self.expect("check", lambda: store.check(["key2"]), True)
            self.expect("check none", lambda: store.check([]), True)
            self.expect("check missing", lambda: store.check(["key2", "missing"]), False)
        if self.has("list_keys"):
            self.expect("list_keys", lambda: sorted(k for k in store.list_keys() if k.startswith("key")), ["key2"])

    def waits(self):
        store = self.store
        store.set("here", "1")
        self.expect("wait", lambda: store.wait(["here"]), None)
        self.expect("wait for none", lambda: store.wait([], SHORT), None)
        self.expect("wait twice the same", lambda: store.wait(["here", "here"], SHORT), None)
        other = self.connect()
        for name, action in (
            ("set", lambda: other.set("later set", "v")),
            ("add", lambda: other.add("later add", 1)),
        ):
            timer = threading.Timer(0.2, action)
            timer.start()
            self.expect(f"wait ended by {name}", lambda: store.wait([f"later {name}"], LONG), None)
            timer.join()
        timer = threading.Timer(0.2, lambda: other.set("later get", "v"))
        timer.start()
        self.expect("get waits", lambda: store.get("later get"), b"v")
        timer.join()

    def timeouts(self):
        # On clients of their own: 1.13 cannot cancel, and a late answer would spoil what follows.
        client = self.connect()
        kind = self.note("wait timeout", lambda: client.wait(["never"], SHORT))
        assert isinstance(kind, tuple), f"a wait for a missing key returned {kind!r}"
        if self.has("list_keys"):  # recent: the client is usable after a timeout, also when the key comes
            client.set("never", "1")
            self.expect("after a timeout", lambda: client.get("never"), b"1")
        client = self.connect()
        client.set_timeout(SHORT)
        kind = self.note("get timeout", lambda: client.get("never ever"))
        assert isinstance(kind, tuple), f"a get of a missing key returned {kind!r}"

    def refusals(self):
        client = self.connect()
        client.set("text", "abc")
        kind = self.note("add to a word", lambda: client.add("text", 1))
        assert isinstance(kind, tuple), f"an add to a word returned {kind!r}"
        self.expect("others go on", lambda: self.store.get("text"), b"abc")

    def extended(self):
        store = self.store
        if not self.has("append"):
            return
        self.expect("has_extended_api", lambda: store.has_extended_api(), True)
        self.expect("append", lambda: (store.append("ap", "xy"), store.append("ap", "zw"), store.get("ap"))[2], b"xyzw")
        self.expect("multi_set", lambda: store.multi_set(["ma", "mb"], ["1", ""]), None)
        self.expect("multi_get", lambda: store.multi_get(["mb", "ma", "mb"]), [b"", b"1", b""])
        many = [f"many{i}" for i in range(5000)]
        self.expect("multi_set many", lambda: store.multi_set(many, ["v" * (i % 50) for i in range(5000)]), None)
        self.expect("multi_get many", lambda: [len(v) for v in store.multi_get(many)], [i % 50 for i in range(5000)])

    def clones(self):
        if not self.has("clone"):
            return
        clone = self.store.clone()
        self.expect("clone", lambda: (clone.set("from clone", "1"), self.store.get("from clone"))[1], b"1")

    def queues(self):
        store = self.store
        if not self.has("queue_push"):
            return
        self.expect("queue_len unknown", lambda: store.queue_len("q"), 0)
        before = store.num_keys()
        self.expect("queue_push", lambda: (store.queue_push("q", "e"), store.queue_push("q", "f"))[1], None)
        self.expect("queue_len", lambda: store.queue_len("q"), 2)
        self.expect("queue is no key", lambda: store.num_keys() - before, 0)
        self.expect("queue check", lambda: store.check(["q"]), True)
        self.expect("delete is not for queues", lambda: store.delete_key("q"), False)
        self.expect("queue_pop", lambda: [store.queue_pop("q"), store.queue_pop("q")], [b"e", b"f"])
        kind = self.note("queue_pop empty", lambda: store.queue_pop("q", block=False))
        assert kind[0] == "QueueEmptyError", kind
        other = self.connect()
        timer = threading.Timer(0.2, lambda: other.queue_push("q", "later"))
        timer.start()
        self.expect("queue_pop waits", lambda: store.queue_pop("q"), b"later")
        timer.join()
        client = self.connect()
        client.set_timeout(SHORT)
        self.note("queue_pop timeout", lambda: client.queue_pop("q"))

    def barriers(self):
        if not self.has("barrier"):
            return
        clients = [self.connect() for _ in range(4)]
        done = []

        def meet(client):
            client.barrier("meeting", 5)
            done.append(1)

        threads = [threading.Thread(target=meet, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # they would be through by now if they did not wait
        self.expect("barrier holds", lambda: len(done), 0)
        self.expect("barrier", lambda: self.store.barrier("meeting", 5), None)
        for thread in threads:
            thread.join(20)
        self.expect("barrier releases all", lambda: len(done), 4)
        client = self.connect()
        client.set_timeout(SHORT)
        self.note("barrier timeout", lambda: client.barrier("lonely", 2))

    def prefixes(self):
        import torch.distributed as dist

        outer = dist.PrefixStore("outer", dist.PrefixStore("inner", self.store))
        self.expect("prefix", lambda: (outer.set("k", "p"), self.store.get("inner/outer/k"))[1], b"p")
        self.expect("prefix add", lambda: (outer.add("n", 3), self.store.get("inner/outer/n"))[1], b"3")
        self.expect("prefix delete", lambda: outer.delete_key("k"), True)

    def many_clients(self):
        clients = [self.connect() for _ in range(16)]
        totals = []

        def work(client):
            for _ in range(200):
                client.add("sum", 1)
            totals.append(client.get("go"))

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        while self.store.add("sum", 0) < 16 * 200:
            time.sleep(0.01)
        self.store.set("go", "now")
        for thread in threads:
            thread.join(30)
        self.expect("many clients", lambda: (self.store.add("sum", 0), totals), (3200, [b"now"] * 16))

    TESTS = ("set_and_get", "numbers", "compare_set", "keys", "waits", "timeouts", "refusals", "extended", "clones",
             "queues", "barriers", "prefixes", "many_clients")

    def run(self):
        for test in self.TESTS:
            getattr(self, test)()
        return self.results


def without_libuv():
    """What TCPStore must be told by builds of torch that ask for libuv and have none."""
    import torch
    return {"use_libuv": False} if "+debian" in torch.__version__ else {}


def run_against(host, port):
    import torch.distributed as dist

    def connect():
        return dist.TCPStore(host, port, is_master=False, timeout=LONG, wait_for_workers=False, **without_libuv())

    return Suite(connect).run()


def run_against_torch(**options):
    import torch.distributed as dist

    server = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG, wait_for_workers=False,
                           **{**without_libuv(), **options})
    return run_against("127.0.0.1", server.port)


def print_results(results):
    # repr() of plain values: read back by the comparing process with eval-free line comparison.
    for name, value in results.items():
        text = repr(value)
        print(f"{name}: {text if len(text) < 200 else f'{text[:80]}... {len(text)} {hash_of(text)}'}")


def hash_of(text):
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pythons():
    source = pathlib.Path(os.environ.get("MEGALAUNCH_SOURCE", pathlib.Path(__file__).parents[3]))
    named = os.environ.get("MEGALAUNCH_PYTHONS")
    candidates = named.split(":") if named else ["/usr/bin/python3", str(source / ".venv/bin/python")]
    found = {}
    for python in candidates:
        try:
            probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
        except OSError:
            continue
        if probe.returncode == 0:
            found[python] = probe.stdout.strip()
    return found


def run_child(python, arguments):
    child = subprocess.run([python, __file__, *arguments], capture_output=True, text=True, timeout=240)
    if child.returncode != 0:
        raise SystemExit(f"{python} {' '.join(arguments)} failed:\n{child.stdout}{child.stderr}")
    return child.stdout.splitlines()


def start_store():
    store = subprocess.Popen([os.environ["MEGALAUNCH"], "store", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    for line in store.stderr:
        if found := re.search(r"on port (\d+)", line):
            threading.Thread(target=store.stderr.read, daemon=True).start()
            return store, found.group(1)
    raise SystemExit("megalaunch store did not start")


def compare_all():
    found = pythons()
    if not found:
        print("no Python with torch: set MEGALAUNCH_PYTHONS, or install python3-torch")
        return 77
    failed = False
    for python, version in found.items():
        store, port = start_store()
        try:
            ours = run_child(python, ["--server", f"127.0.0.1:{port}"])
        finally:
            store.terminate()
            store.wait()
        theirs = run_child(python, ["--torch"])
        different = [(a, b) for a, b in zip(ours, theirs) if a != b]
        failed |= bool(different) or len(ours) != len(theirs)
        print(f"torch {version}: {len(ours)} results against megalaunch, {len(theirs)} against torch's own server, "
              f"{len(different)} differ")
        for a, b in different:
            print(f"  megalaunch: {a}\n  torch:      {b}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="HOST:PORT of a running store")
    parser.add_argument("--torch", action="store_true", help="run against torch's own server")
    flags = parser.parse_args()
    if flags.server:
        host, port = flags.server.rsplit(":", 1)
        print_results(run_against(host, int(port)))
    elif flags.torch:
        print_results(run_against_torch())
    else:
        return compare_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
