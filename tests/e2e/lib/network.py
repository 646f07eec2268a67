"""Network namespaces as the nodes of a cluster: own address, host name, loopback and hosts file each, one bridge between.

    with Network(3) as network:
        process = network.start(1, ["hostname"], env={...}, stdout=subprocess.PIPE)   # runs on node1, 10.77.0.2

Needs root. Everything is removed at the end, the processes included; what a killed run left behind goes at the next start.
"""

import atexit
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import processes


def why_not():
    """Why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need ip, from Debian's iproute2"
    probe = subprocess.run(["unshare", "--net", "--uts", "--mount", "true"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"this machine lets nobody make namespaces: {probe.stderr.strip()}"


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


class Network:
    """Nodes node0, node1, ... at 10.77.0.1, 10.77.0.2, ... in this process's private namespaces."""

    _made = 0

    def __init__(self, size):
        Network._remove_stale()
        self.size = size
        self._prefix = f"ml-{os.getpid()}-{Network._made}-"
        Network._made += 1
        self._switch = self._prefix + "switch"
        atexit.register(self.close)
        self._add_namespace(self._switch)
        ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._switch, "link", "set", "bridge", "up")
        self._inodes = []
        for node in range(size):
            name = self.namespace(node)
            self._add_namespace(name)
            self._inodes.append(os.stat(f"/run/netns/{name}").st_ino)
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{node}", "netns", self._switch)
            ip("-n", self._switch, "link", "set", f"port{node}", "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{self.address(node)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            self.write_hosts(node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def namespace(self, node):
        return f"{self._prefix}{node}"

    def address(self, node):
        return f"10.77.0.{node + 1}"

    def write_hosts(self, node, known=None, aliases=None):
        """Which nodes `node` can resolve by name (default: all), and further names with their nodes. Takes effect in
        running processes too."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{self.address(n)} node{n}" for n in (range(self.size) if known is None else known)]
        lines += [f"{self.address(n)} {name}" for name, n in (aliases or {}).items()]
        folder = Path("/etc/netns") / self.namespace(node)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text("\n".join(lines) + "\n")  # in place: running processes see it through a bind mount

    def start(self, node, argv, **popen):
        """A Popen of argv itself (ip, unshare and sh exec it in turn) on the node, under the node's host name."""
        enter = ["ip", "netns", "exec", self.namespace(node), "unshare", "--uts",
                 "/bin/sh", "-c", 'hostname "$0" && exec "$@"', f"node{node}"]
        return subprocess.Popen([*enter, *map(str, argv)], **popen)

    def run(self, node, argv, **options):
        return subprocess.run(["ip", "netns", "exec", self.namespace(node), *map(str, argv)],
                              capture_output=True, text=True, **options)

    def processes(self, node):
        """Every live process on the node, whoever its parent is."""
        return processes.in_namespace("net", self._inodes[node])

    def set_link(self, node, up):
        """Pulls or plugs the node's cable."""
        ip("-n", self._switch, "link", "set", f"port{node}", "up" if up else "down")

    def deafen(self, node, *sources, verdict="drop"):
        """The node no longer hears those nodes, though they may hear it; verdict "reset" answers their TCP with a reset."""
        to = "reject with tcp reset" if verdict == "reset" else verdict
        tcp = "meta l4proto tcp " if verdict == "reset" else ""
        self._filter(node, *(f"ip saddr {self.address(source)} {tcp}{to}" for source in sources))

    def lose_packets(self, node, percent):
        """The node no longer hears every packet that it is sent, but all others."""
        self._filter(node, f"iifname eth0 numgen random mod 100 < {percent} drop")

    def _filter(self, node, *rules):
        self._nft(node, "add table ip faults\nadd chain ip faults heard { type filter hook input priority 0; }\n"
                        + "".join(f"add rule ip faults heard {rule}\n" for rule in rules))

    def heal(self, node):
        self._nft(node, "delete table ip faults\n")

    def _nft(self, node, text):
        subprocess.run(["ip", "netns", "exec", self.namespace(node), "nft", "-f", "-"], input=text, text=True, check=True)

    def close(self):
        atexit.unregister(self.close)
        for node in range(len(self._inodes)):
            processes.kill_all(lambda node=node: self.processes(node))
        Network._remove(self._prefix)

    def _add_namespace(self, name):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    @staticmethod
    def _remove(prefix):
        for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
            if name.startswith(prefix):
                ip("netns", "del", name, check=False)
                shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    @staticmethod
    def _remove_stale():
        """What a harness left behind that was killed: its process number is in the names."""
        for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
            owner = re.match(r"ml-(\d+)-", name)
            if owner and not os.path.exists(f"/proc/{owner.group(1)}"):
                inode = os.stat(f"/run/netns/{name}").st_ino
                processes.kill_all(lambda inode=inode: processes.in_namespace("net", inode))
                Network._remove(name)
