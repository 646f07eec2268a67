"""A process as PID 1 of new pid, mount and network namespaces, in a root folder of its own: a container without an engine."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import agents, processes

SETUP = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec /usr/sbin/chroot "$0" "$@"'


def run(*argv, **options):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, **options)


def root_with_hosts_usr(folder):
    """A root folder with the host's own /usr, read-only, and little else."""
    for name in ("usr", "proc", "dev", "tmp", "etc", "run", "output", "root"):
        (folder / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (folder / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "ld.so.cache", "nsswitch.conf"):
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", folder / "etc" / name)
    if os.path.isdir("/etc/alternatives"):
        shutil.copytree("/etc/alternatives", folder / "etc" / "alternatives", symlinks=True)
    run("mount", "--bind", "/usr", folder / "usr")
    run("mount", "-o", "remount,bind,ro", folder / "usr")
    return folder


def write_hosts(root, network):
    lines = ["127.0.0.1 localhost"] + [f"{network.address(n)} node{n}" for n in range(network.size)]
    (root / "etc" / "hosts").write_text("\n".join(lines) + "\n")


class Container(agents.Agent):
    """An Agent whose process is PID 1 of its own container on the node."""

    def __init__(self, network, node, root, argv, env):
        enter = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "/bin/sh", "-c", SETUP, str(root)]
        super().__init__(network, node, [*enter, *map(str, argv)], env, cwd="/")

    def pid_1(self):
        """Its number outside, once it is started."""
        return processes.wait_until(lambda: next(iter(children(self.pid)), None), 10, "PID 1")

    def signal_pid_1(self, number):
        os.kill(self.pid_1(), number)

    def zombies(self):
        return [pid for pid in children(self.pid_1()) if processes.state(pid) == "Z"]

    def stop(self):
        if self.is_running():
            self.signal(signal.SIGKILL)
        self.wait(20)


def children(pid):
    """Children of a process, zombies included."""
    found = []
    for child in processes.pids():
        if agents._parent(child) == pid:
            found.append(child)
    return found


class Stage:
    """One stage of a Dockerfile: an overlay over its base, in which commands run as in an engine's build."""

    def __init__(self, folder, lower):
        self.root = folder / "root"
        for name in ("root", "upper", "work"):
            (folder / name).mkdir(parents=True)
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work", self.root)
        self.workdir = "/"
        self.entrypoint = None

    def run(self, command, log):
        script = f'{SETUP.split(" && exec")[0]} && cp /etc/resolv.conf "$0/etc/" && exec /usr/sbin/chroot "$0" sh -c "cd {self.workdir} && $1"'
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        with open(log, "ab") as output:
            subprocess.run(["unshare", "--mount", "--pid", "--fork", "/bin/sh", "-c", script, self.root, command], check=True,
                           env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def path(self, inside):
        return self.root / Path("/", self.workdir, inside).relative_to("/")
