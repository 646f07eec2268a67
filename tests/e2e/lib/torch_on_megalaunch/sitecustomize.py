"""In a Python that finds this on PYTHONPATH, torch's TCPStore masters are stores of ours, and torchrun's main() is ours.

A master TCPStore starts `megalaunch store` on its port and becomes a client of it; everything else is torch's own code.
MEGALAUNCH names the binary. Processes that such a Python starts inherit all of it."""

import importlib.abc
import os
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


def _run_ours(module):
    def main(args=None):
        status = subprocess.call([os.environ["MEGALAUNCH"], "torchrun", *(sys.argv[1:] if args is None else args)])
        if status != 0:
            raise RuntimeError(f"megalaunch torchrun ended with {status}")

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
