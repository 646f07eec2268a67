"""In a Python that finds this on PYTHONPATH, torch's TCPStore masters are stores of ours.

A master TCPStore starts `megalaunch store` on its port and becomes a client of it; everything else is torch's own code.
MEGALAUNCH names the binary. Processes that such a Python starts inherit all of it."""

import importlib.abc
import os
import re
import socket
import subprocess
import sys
import weakref

_stores = {}  # port -> (process, how many masters of this process share it)


def _start(port, dialect):
    process = subprocess.Popen([os.environ["MEGALAUNCH"], "store", "--listen", f":{port}", "--torch", dialect],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in process.stdout:
        said += line
        if "serving torch clients on port" in line:
            return process, int(line.rsplit(" ", 1)[1])
    process.wait()
    if "in use" in said:  # the words that torch's users and tests look for
        raise RuntimeError(f"The server socket has failed to listen on any local network address. EADDRINUSE: port: {port}, "
                           f"address already in use. {said}")
    raise RuntimeError(said)


def _release(port):
    process, users = _stores.get(port, (None, 0))
    if users > 1:
        _stores[port] = (process, users - 1)
    elif process is not None:
        del _stores[port]
        process.terminate()
        process.wait()
        process.stdout.close()


def _substitute(c10d, torch_version):
    original = c10d.TCPStore
    dialect = "2.2+" if torch_version >= (2, 2) else "2.1" if torch_version >= (2, 1) else "1.13"

    class Meta(type(original)):
        def __instancecheck__(cls, instance):  # what C++ hands out again is the original
            return isinstance(instance, original)

    class TCPStore(original, metaclass=Meta):
        def __init__(self, host_name, port, world_size=None, is_master=False, *positional, **named):
            if not is_master:
                super().__init__(host_name, port, world_size, False, *positional, **named)
                return
            descriptor = named.pop("master_listen_fd", None)
            if descriptor is not None:  # torch would listen on it; ours listens on its port
                taken = socket.socket(fileno=descriptor)
                port = taken.getsockname()[1]
                taken.close()
            shared = named.get("multi_tenant", False) and port in _stores
            if shared:
                _stores[port] = (_stores[port][0], _stores[port][1] + 1)
            else:
                process, port = _start(port, dialect)
                _stores[port] = (process, 1)
            # Registered before the constructor waits for its workers, which it may do in vain.
            weakref.finalize(self, _release, port)
            super().__init__(host_name, port, world_size, False, *positional, **named)

    TCPStore.__module__, TCPStore.__qualname__ = original.__module__, original.__qualname__
    c10d.TCPStore = TCPStore
    sys.modules["torch.distributed"].TCPStore = TCPStore


def _without_etcd(arguments):
    """The tests meet through an etcd that they start. Ours refuses etcd: it meets through its own store, on a port near by."""
    if not any("etcd" in argument and "backend" in argument for argument in arguments):
        return arguments
    near = lambda found: f"{found[1]}{int(found[2]) + 7}"
    return [re.sub(r"etcd(-v2)?$", "c10d", argument) if "backend" in argument
            else re.sub(r"^(--rdzv.endpoint=.*:)(\d+)$", near, argument) for argument in arguments]


def run_ours(module):
    """torch.distributed.run's main(), which tests call in their own process."""

    def main(args=None):
        arguments = _without_etcd([str(argument) for argument in (sys.argv[1:] if args is None else args)])
        done = subprocess.run([os.environ["MEGALAUNCH"], "torchrun", *arguments], capture_output=True, text=True,
                              env={**os.environ, "PYTHON_EXEC": os.environ.get("PYTHON_EXEC", sys.executable)})
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        if done.returncode == 0:
            return
        said = f"megalaunch torchrun {arguments} ended with {done.returncode}: {done.stderr[-250:]}"
        if "FAILED" not in done.stderr:  # no report: the command line was refused
            raise ValueError(said)
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
        raise ChildFailedError(said, {0: ProcessFailure(0, 0, done.returncode, "<N/A>")})

    module.main = main


class _Watcher(importlib.abc.MetaPathFinder):
    """torch.distributed.distributed_c10d is the first who takes the name TCPStore from where torch's C++ put it."""

    def find_spec(self, name, path=None, target=None):
        if name == "torch.distributed.distributed_c10d":
            c10d = sys.modules.get("torch._C._distributed_c10d")
            version = sys.modules["torch.version"].__version__ if "torch.version" in sys.modules else __import__("torch").__version__
            if c10d is not None:
                _substitute(c10d, tuple(int(part) for part in str(version).split(".")[:2]))
        return None


if "MEGALAUNCH" in os.environ:
    sys.meta_path.insert(0, _Watcher())
