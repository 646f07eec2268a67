"""Looking at processes through /proc, and waiting for things without hope."""

import os
import signal
import time


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_alive(pid):
    """False also for a zombie: it runs nothing and holds nothing."""
    return state(pid) not in (None, "Z", "X")


def state(pid):
    """The letter of /proc/PID/stat, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [part.decode(errors="replace") for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def environment(pid):
    """The environment that a process was started with."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (part.decode(errors="replace").partition("=") for part in file.read().split(b"\0") if part)
            return {name: value for name, _, value in pairs}
    except OSError:
        return {}


def in_namespace(kind, inode):
    """Live processes whose namespace of this kind (net, pid, mnt) has this inode."""
    found = []
    for pid in pids():
        try:
            if os.stat(f"/proc/{pid}/ns/{kind}").st_ino == inode:
                found.append(pid)
        except OSError:
            continue  # gone, or a zombie
    return found


def describe(some_pids):
    return "; ".join(f"{pid}: {' '.join(command_line(pid))[:120]}" for pid in some_pids)


def kill_all(find):
    """SIGKILL to what find() returns, until it returns nothing."""
    def gone():
        for pid in find():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not find()
    wait_until(gone, 10, "processes to die of SIGKILL")


def wait_until(condition, timeout, what):
    """The first true value of condition(), or an AssertionError that says what did not happen."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(0.01)
