#!/usr/bin/env python3
"""The store against torch's own server: the same load on each in turn, on this machine, in one run; a table with ratios.

    cmake --preset release -DMEGALAUNCH_TESTS=ON && cmake --build --preset release --target megalaunch store_load
    tests/bench/store_bench.py
    tests/bench/store_bench.py --megalaunch PATH --load PATH --python python3 --connections 64,1024,4096 --start 1024,8192

The two programs are static: to measure on another machine, carry build/release/megalaunch,
build/release/tests/bench/store_load and this file there, and name the two by --megalaunch and --load. On a machine with 16
cores and torch 2.11 (its python3 on PATH) the numbers of the issue come from

    python3 store_bench.py --megalaunch ./megalaunch --load ./store_load --python python3 \\
        --connections 1,64,1024 --start 1024,8192 --hold 65000 --keys 1000000 --seconds 5

What a huge job leaves in the store, all of it at once (as root, for the limit of open files; where that allows fewer
connections than asked for, those are measured, and the exit code is 1):

    tests/bench/store_bench.py --crowd

--python may be given several times; each torch is measured with every server it has (libuv or not from 2.4 on). Torch
before 2.2 speaks an older dialect; ours is measured in the same dialect beside it. --quick: ours alone, briefly (for CI).
"""

import argparse
import atexit
import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]

TORCH_SERVER = """
import sys, torch.distributed as dist
options = {"use_libuv": sys.argv[1] == "libuv"} if sys.argv[1] != "only" else {}
store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, **options)
print("port", store.port, flush=True)
sys.stdin.read()
"""


# torch's server asks the name service for the name of every peer. Without this, what is measured is this machine's DNS.
NO_DNS = ["unshare", "--mount", "sh", "-c", 'echo "hosts: files" > "$0" && mount --bind "$0" /etc/nsswitch.conf && exec "$@"']


def without_dns(command):
    """The command with a name service of files alone, where this user may do that."""
    with tempfile.NamedTemporaryFile(prefix="nsswitch-", delete=False) as file:
        atexit.register(os.unlink, file.name)
    wrapped = [*NO_DNS, file.name]
    try:
        works = subprocess.run([*wrapped, "true"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        works = False
    if not works:
        print("not root: torch's server asks DNS for the name of each peer, and its connects are as slow as that", file=sys.stderr)
    return [*wrapped, *command] if works else command


def may_open(files):
    """Raises this process's limit of open files, which its children inherit; False where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        except (ValueError, OSError) as error:
            print(f"{files:,} open files are needed, and the hard limit is {hard:,}: {error}. Run this as root, or with "
                  "`ulimit -Hn` raised (limits.conf; docker run --ulimit nofile=200000).", file=sys.stderr)
            return False
    return True


def affordable(connections, files_each):
    """So many connections, or what the limit of open files allows of them, each taking `files_each` files; says which."""
    spare = 2048
    if may_open(connections * files_each + spare):
        return connections
    fewer = max(0, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - spare) // files_each)
    print(f"NOT MEASURED with {connections:,} connections; with {fewer:,} instead", file=sys.stderr)
    return fewer


class Server:
    def __init__(self, name, dialect, arguments):
        self.name, self.dialect, self.arguments = name, dialect, arguments

    def __enter__(self):
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if found := re.search(r"port (\d+)", line):
                self.port = found.group(1)
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return self
        raise SystemExit(f"{self.name} did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def torch_servers(python):
    try:
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    except OSError as error:
        print(f"no rival: {error}", file=sys.stderr)
        return []
    if probe.returncode != 0:
        print(f"no rival: {python} has no torch", file=sys.stderr)
        return []
    version = probe.stdout.strip()
    release = tuple(int(part) for part in version.split(".")[:2])
    dialect = "magic" if release >= (2, 2) else "l1"
    kinds = ["libuv", "poll"] if release >= (2, 4) else ["only"]
    return [Server(f"torch {version}{'' if kind == 'only' else ' ' + kind}", dialect,
                   without_dns([python, "-c", TORCH_SERVER, kind])) for kind in kinds]


class Bench:
    def __init__(self, flags):
        self.flags = flags

    def ours(self, dialect):
        arguments = [self.flags.megalaunch, "store", "--listen", "127.0.0.1:0"]
        if self.flags.threads:
            arguments += ["--threads", str(self.flags.threads)]
        return Server(f"megalaunch{'' if dialect == 'magic' else ' (' + dialect + ')'}", dialect, arguments)

    def load(self, server, mode, connections, **more):
        arguments = [self.flags.load, "--port", server.port, "--mode", mode, "--connections", str(connections),
                     "--dialect", server.dialect]
        if self.flags.load_threads:
            arguments += ["--threads", str(self.flags.load_threads)]
        for name, value in more.items():
            arguments += [f"--{name}", str(value)]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            print(f"    {server.name}: {done.stderr.strip()}", file=sys.stderr)
            return None
        return json.loads(done.stdout)

    def compare(self, title, servers, measure):
        """measure(server) -> {column: (value, better)}; better is 'more' or 'less'. The last server is ours."""
        print(f"\n{title}")
        rows = []
        for server in servers:
            with server:
                rows.append((server.name, measure(server)))
        ours = rows[-1][1]
        for name, columns in rows:
            cells = []
            for column, (value, better) in columns.items():
                text = f"{column} {value:,.1f}" if value < 1000 else f"{column} {value:,.0f}"
                if columns is not ours and ours.get(column) and value and ours[column][0]:
                    factor = ours[column][0] / value if better == "more" else value / ours[column][0]
                    text += f" (ours {factor:.2f}x)"
                cells.append(text)
            print(f"  {name:26} {'   '.join(cells) or 'failed'}")
        return rows

    def operations(self, servers, connections):
        def measure(server):
            self.load(server, "mixed", connections, seconds=0.5)
            best = None
            for _ in range(self.flags.repeat):
                cpu = server.cpu_seconds()
                got = self.load(server, "mixed", connections, seconds=self.flags.seconds)
                if got:
                    got["cpu_us"] = (server.cpu_seconds() - cpu) / got["operations"] * 1e6
                if got and (best is None or got["operations_per_second"] > best["operations_per_second"]):
                    best = got
            return best and {"ops/s": (best["operations_per_second"], "more"), "p50 us": (best["p50_us"], "less"),
                             "p99 us": (best["p99_us"], "less"), "longest us": (best["longest_us"], "less"),
                             # What a busy machine does not disturb: the server's own processor time.
                             "server us/op": (best["cpu_us"], "less")} or {}

        self.compare(f"closed loop of SET+GET, ADD, CHECK over {connections} connections", servers, measure)

    def start(self, servers, connections):
        def measure(server):
            got = self.load(server, "start", connections, groups=self.flags.groups)
            return got and {"start s": (got["seconds"], "less"), "connects/s": (got["connects_per_second"], "more"),
                            "p99 us": (got["p99_us"], "less")} or {}

        self.compare(f"start of {connections} clients: barrier, then {self.flags.groups} groups", servers, measure)

    @contextlib.contextmanager
    def idle(self, server, connections):
        """Holds so many connections; gives who holds them, and the server's memory for each."""
        before = server.resident_kib()
        holder = subprocess.Popen([self.flags.load, "--port", server.port, "--mode", "idle", "--connections",
                                   str(connections), "--dialect", server.dialect],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if not holder.stdout.readline():
                raise SystemExit(f"{server.name} does not hold {connections} connections")
            yield holder, (server.resident_kib() - before) * 1024 / connections
        finally:
            holder.kill()
            holder.wait()

    def hold(self, servers, connections):
        def measure(server):
            with self.idle(server, connections) as (_, bytes_each):
                got = self.load(server, "mixed", 16, seconds=2)
            used = {"bytes/connection": (bytes_each, "less")}
            if got:
                used["longest us beside them"] = (got["longest_us"], "less")
            return used

        self.compare(f"{connections} idle connections", servers, measure)

    def crowd(self, server, connections, keys):
        """Everything at once: connections held, keys stored, and every kind of operation beside a client that lists all
        keys again and again; then the same while all those connections die."""
        print(f"\n{server.name}: {connections:,} connections held, {keys:,} keys of 100 bytes")
        with server:
            with self.idle(server, connections) as (holder, bytes_each):
                before = server.resident_kib()
                filled = self.load(server, "fill", 1, keys=keys)
                if not filled:
                    return False
                each = (server.resident_kib() - before) * 1024 / keys
                print(f"  memory of the server: {bytes_each:,.0f} bytes an idle connection, {each:,.0f} bytes a key")
                slowest = self.probed("while they are held and all keys are listed again and again",
                                      self.load(server, "probe", 1, seconds=self.flags.seconds), list_all=True)
                threading.Timer(self.flags.seconds / 4, holder.kill).start()
                slowest = max(slowest, self.probed(f"while the {connections:,} connections die",
                                                   self.load(server, "probe", 1, seconds=self.flags.seconds)))
        return slowest

    def new_generation(self, connections, keys):
        """Ours, inside the load generator: torch has no such thing. Both ends of a connection count there."""
        connections = affordable(connections, files_each=2)
        done = subprocess.run([self.flags.load, "--mode", "generation", "--keys", str(keys), "--connections", str(connections),
                               "--seconds", str(self.flags.seconds)], capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)
            return False
        return self.probed(f"while a new generation does away with {connections:,} connections and {keys:,} keys",
                           json.loads(done.stdout))

    def probed(self, title, got, list_all=False):
        """The slowest single operation in ms. LIST_KEYS of a million keys is 20 MB long: shown, not judged."""
        if not got:
            return float("inf")
        print(f"  {title}:")
        for operation in sorted(got["operations"], key=lambda each: -each["longest_us"]):
            if operation["name"] == "LIST_KEYS" and not list_all:
                continue
            print(f"    {operation['name']:32} {operation['count']:7,} times   p50 {operation['p50_us']:9,.0f} us"
                  f"   p99 {operation['p99_us']:9,.0f} us   slowest {operation['longest_us'] / 1000:8.1f} ms")
        slowest = max(each["longest_us"] for each in got["operations"] if each["name"] != "LIST_KEYS") / 1000
        print(f"    slowest but LIST_KEYS: {slowest:.1f} ms")
        return slowest

    def keys(self, servers, keys):
        def measure(server):
            before = server.resident_kib()
            filled = self.load(server, "fill", 1, keys=keys)
            if not filled:
                return {}
            got = self.load(server, "mixed", 64, seconds=2)
            return {"fill s": (filled["seconds"], "less"), "MiB": ((server.resident_kib() - before) / 1024, "less"),
                    "longest us beside them": (got["longest_us"] if got else 0, "less")}

        self.compare(f"{keys} keys of 100 bytes", servers, measure)


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megalaunch", default=os.environ.get("MEGALAUNCH", ROOT / "build/release/megalaunch"))
    parser.add_argument("--load", default=ROOT / "build/release/tests/bench/store_load")
    parser.add_argument("--python", action="append", help="a Python with torch; default: MEGALAUNCH_PYTHONS, else "
                        "/usr/bin/python3 and .venv/bin/python")
    parser.add_argument("--connections", type=numbers, default=[1, 64, 1024])
    parser.add_argument("--start", type=numbers, default=[1024])
    parser.add_argument("--hold", type=numbers, help="idle connections; default 4096")
    parser.add_argument("--keys", type=int, help="default 100,000")
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="of each, the best counts")
    parser.add_argument("--threads", type=int, default=0, help="of our server; 0 = its default")
    parser.add_argument("--load-threads", type=int, default=0)
    parser.add_argument("--crowd", action="store_true", help="nothing but --hold connections and --keys keys at once, with every "
                        "kind of operation beside them (65,000 and 1,000,000 unless said); exit 1 where one took longer than --slowest-ms")
    parser.add_argument("--slowest-ms", type=float, default=50)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    flags = parser.parse_args()
    for program, target in (flags.megalaunch, "megalaunch"), (flags.load, "store_load"):
        if not os.access(program, os.X_OK):
            parser.error(f"there is no program {program}; build it with: cmake --preset release -DMEGALAUNCH_TESTS=ON && "
                         f"cmake --build --preset release --target {target}")
    bench = Bench(flags)
    if flags.crowd:
        wanted, keys = (flags.hold or [65_000])[0], flags.keys or 1_000_000
        connections = affordable(wanted, files_each=1)
        slowest = connections and bench.crowd(bench.ours("magic"), connections, keys)
        renewed = slowest and bench.new_generation(connections, keys)
        fast = slowest and renewed and max(slowest, renewed) < flags.slowest_ms
        return 0 if fast and connections == wanted else 1
    flags.hold = [4096] if flags.hold is None else flags.hold
    flags.keys = 100_000 if flags.keys is None else flags.keys
    if flags.quick:
        flags.seconds, flags.repeat = 0.2, 1
        bench.operations([bench.ours("magic")], 64)
        bench.start([bench.ours("magic")], 256)
        bench.keys([bench.ours("magic")], 10_000)
        return 0 if bench.crowd(bench.ours("magic"), 200, 10_000) and bench.new_generation(200, 10_000) else 1
    named = os.environ.get("MEGALAUNCH_PYTHONS")
    pythons = flags.python or (named.split(":") if named else ["/usr/bin/python3", str(ROOT / ".venv/bin/python")])
    rivals = [server for python in pythons for server in torch_servers(python)]
    print(f"{os.cpu_count()} cores; rivals: {', '.join(server.name for server in rivals) or 'none'}")
    for dialect in ("l1", "magic"):
        group = [server for server in rivals if server.dialect == dialect]
        if not group and (dialect == "l1" or rivals):
            continue
        servers = group + [bench.ours(dialect)]
        for connections in flags.connections:
            bench.operations(servers, connections)
        for connections in flags.start:
            bench.start(servers, connections)
        for connections in flags.hold:
            bench.hold(servers, connections)
        if flags.keys and dialect == "magic":
            bench.keys(servers, flags.keys)
    return 0


if __name__ == "__main__":
    sys.exit(main())
