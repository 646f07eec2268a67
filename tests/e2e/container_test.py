#!/usr/bin/env python3
"""megalaunch as a container's PID 1, without a container engine: in new pid, mount and network namespaces and a root folder.

The duties of PID 1 are tried in a root folder that has this machine's own /usr. With MEGALAUNCH_DEBOOTSTRAP=FOLDER, a Debian 12
made by debootstrap (made there when the folder is missing; minutes, and a network), the steps of docker/Dockerfile are carried
out one by one on top of it, and the example trains in three containers of the result. No engine is involved in either.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from lib import agents, case, container, processes, training


class ContainerTest(case.GangTest):
    def start(self, net, node, root, argv, env=None):
        base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}
        started = container.Container(net, node, root, argv, {**base, **(env or {})})
        self.addCleanup(started.stop)
        return started


class Pid1(ContainerTest):
    def setUp(self):
        super().setUp()
        self.root = container.root_with_hosts_usr(self.folder / "root")
        self.addCleanup(subprocess.run, ["umount", "-l", self.root / "usr"], check=True)
        shutil.copy(case.megalaunch(), self.root / "megalaunch")

    def run_job(self, script, nodes=1, env=None, **rest):
        net = self.network(nodes)
        container.write_hosts(self.root, net)
        job = self.write_job({"output": "/output", "command": case.sh(script), "restart": {"max": 0, "grace": "3s"}, **rest})
        shutil.copy(job, self.root / "job.yaml")
        platform = {"WORLD_SIZE": str(nodes), "TQ_GPU_NUM": "2", "MASTER_PORT": "29500"}
        return [self.start(net, node, self.root, ["/megalaunch", "run", "/job.yaml"],
                           {**platform, "RANK": str(node), "MASTER_ADDR": "node0" if node else "localhost", **(env or {})})
                for node in range(nodes)]

    def test_it_is_pid_1_and_its_status_is_the_containers(self):
        for status in (0, 7):
            pid_1, = self.run_job(f'tr "\\0" " " </proc/1/cmdline; echo; exit {status}')
            self.assertEqual(pid_1.wait(20), status, pid_1.text())
            self.assertRegex(pid_1.text(), r"\[0:[01]\] /megalaunch run /job\.yaml")

    def test_it_reaps_orphans_that_it_never_started(self):
        pid_1, = self.run_job('for i in 1 2 3 4 5; do ( setsid sh -c "sleep 0.3" & ) ; done; sleep 0.2; echo made; exec sleep 1000')
        pid_1.wait_for("made")
        time.sleep(0.5)  # their life
        processes.wait_until(lambda: not pid_1.zombies(), 2, "the orphans to be reaped")
        self.assertTrue(pid_1.is_running())

    def test_a_sigterm_to_it_gives_the_ranks_their_grace_and_ends_with_143(self):
        pid_1, = self.run_job('trap "sleep 0.5; echo saved; exit 0" TERM; echo up; while :; do sleep 0.05; done')
        pid_1.wait_for("up")
        time.sleep(0.2)
        pid_1.signal_pid_1(signal.SIGTERM)
        self.assertEqual(pid_1.wait(10), 143, pid_1.text())
        self.assertEqual(len(re.findall(r"\] saved", pid_1.text())), 2)

    def test_a_sigterm_before_the_gang_is_complete_ends_it_at_once(self):
        net = self.network(1)
        container.write_hosts(self.root, net)
        shutil.copy(self.write_job({"output": "/output", "command": case.sh("true")}), self.root / "job.yaml")
        pid_1 = self.start(net, 0, self.root, ["/megalaunch", "run", "/job.yaml"],
                           {"WORLD_SIZE": "2", "RANK": "0", "TQ_GPU_NUM": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"})
        pid_1.wait_for("joined")
        pid_1.signal_pid_1(signal.SIGTERM)
        self.assertEqual(pid_1.wait(5), 143, pid_1.text())

    def test_three_containers_are_one_gang(self):
        containers = self.run_job("echo rank $RANK of $WORLD_SIZE on $(hostname)", nodes=3)
        for node, pid_1 in enumerate(containers):
            self.assertEqual(pid_1.wait(20), 0, pid_1.text())
            for local in range(2):
                self.assertIn(f"[{node}:{2 * node + local}] rank {2 * node + local} of 6 on node{node}", pid_1.text())


class DockerfileSteps(ContainerTest):
    """Carries out docker/Dockerfile: FROM, WORKDIR, COPY, RUN, ENTRYPOINT as an engine does, on overlays over debootstrap."""

    def setUp(self):
        super().setUp()
        base = os.environ.get("MEGALAUNCH_DEBOOTSTRAP")
        if not base:
            self.skipTest("set MEGALAUNCH_DEBOOTSTRAP=FOLDER to try the Dockerfile's steps (minutes; the folder is made if missing)")
        self.base = Path(base).absolute()
        if not (self.base / "etc" / "debian_version").exists():
            if not shutil.which("debootstrap"):
                self.skipTest("debootstrap is not installed")
            subprocess.run(["debootstrap", "bookworm", self.base], check=True, stdout=subprocess.DEVNULL)
        self.stages = {}
        self.addCleanup(self.unmount)

    def unmount(self):
        for stage in reversed(list(self.stages.values())):
            subprocess.run(["umount", "-l", stage.root], check=True)

    def copy(self, stage, words, target):
        sources = [word for word in words if not word.startswith("--")]
        origin = next((self.stages[w.partition("=")[2]].root for w in words if w.startswith("--from=")), None)
        into = stage.path(target)
        if origin is None:  # the context is what git knows, as docker/Dockerfile.dockerignore leaves it
            into.mkdir(parents=True, exist_ok=True)
            for source in sources:
                strip = "" if source == "." or (case.SOURCE / source).is_file() else source + "/"
                listed = subprocess.run(["git", "-C", case.SOURCE, "ls-files", source], check=True, capture_output=True, text=True)
                for name in listed.stdout.splitlines():
                    copied = into / name.removeprefix(strip)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(case.SOURCE / name, copied)
        else:
            for source in sources:
                shutil.copy(origin / source.lstrip("/"), into / Path(source).name if target.endswith("/") else into)

    def build(self, arguments=None):
        """The last stage."""
        values, stage, log = {}, None, self.folder / "build.log"
        for line in (case.SOURCE / "docker" / "Dockerfile").read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word == "ARG":
                name, _, default = rest.partition("=")
                values[name] = (arguments or {}).get(name, default)
            elif word == "FROM":
                image, _, name = re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], rest).partition(" AS ")
                lower = self.base if image == "debian:12" else None
                if lower is None:  # a stage: what was put over its base, over the base
                    done = self.stages[image]
                    lower = f"{done.root.parent / 'upper'}:{self.base}"
                stage = container.Stage(self.folder / f"stage{len(self.stages)}", lower)
                self.stages[name or "last"] = stage
            elif word == "WORKDIR":
                stage.workdir = rest
                stage.path(".").mkdir(parents=True, exist_ok=True)
            elif word == "COPY":
                *sources, target = rest.split()
                self.copy(stage, sources, target)
            elif word == "RUN":
                begin = time.monotonic()
                try:
                    stage.run(rest, log)
                except subprocess.CalledProcessError:
                    self.fail(f"RUN {rest}\n{log.read_text(errors='replace')[-4000:]}")
                print(f"RUN {rest}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            elif word == "ENTRYPOINT":
                stage.entrypoint = eval(rest)  # a JSON list of words
            else:
                self.fail(f"docker/Dockerfile: an instruction that this test does not know: {line}")
        return stage

    def test_the_image_trains_the_example_in_three_containers(self):
        image = self.build()
        self.assertEqual(image.entrypoint, ["megalaunch", "run", "/job.yaml"])
        linked = subprocess.run(["chroot", image.root, "ldd", "/usr/local/bin/megalaunch"], capture_output=True, text=True)
        self.assertEqual(set(re.findall(r"^\s+(lib\w+)", linked.stdout, re.M)) - {"libc", "libm"}, set(), linked.stdout)

        net = self.network(3)
        container.write_hosts(image.root, net)
        shutil.copytree(case.SOURCE / "configs", image.root / "training" / "configs")
        shutil.copy(case.EXAMPLES / "gpt.yaml", image.root / "job.yaml")
        started = []
        for node in range(3):  # what docker/compose.yaml sets
            environment = {"WORLD_SIZE": "3", "RANK": str(node), "TQ_GPU_NUM": "2", "MASTER_PORT": "29500", "OUTPUT_DIR": "/output",
                           "MASTER_ADDR": "node0" if node else "localhost", "PYTHON": "/usr/bin/python3",
                           "MEGALAUNCH_JOB_KEY": "secret", "PATH": "/usr/local/bin:/usr/bin:/bin"}
            entry = ["/bin/sh", "-c", 'cd /training && exec "$@"', "sh", *image.entrypoint]  # working_dir, then PID 1
            started.append(self.start(net, node, image.root, entry, environment))
        for pid_1 in started:
            self.assertEqual(pid_1.wait(300), 0, pid_1.text())
        losses = training.losses(started[2].lines())
        self.assertEqual(losses[-1][0], 100)
        self.assertLess(losses[-1][1], losses[0][1] - 0.5)
        self.assertTrue((image.root / "output/checkpoints/iter_0000100").is_dir())


if __name__ == "__main__":
    case.main()
