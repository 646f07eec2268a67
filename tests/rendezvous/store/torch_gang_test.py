#!/usr/bin/env python3
"""Real gangs of torch ranks that meet in `megalaunch store`.

- 16 gloo ranks of the oldest torch found, started by hand.
- A gang of three torchrun agents for every torch found, whose rendezvous endpoint is our store: the whole dynamic
  rendezvous of torch elastic runs through it (`--rdzv-conf is_host=0`), and then the ranks' own.

Pythons and exit 77: as in torch_store_suite.py.
"""

import os
import subprocess
import sys
import tempfile
import time

import torch_store_suite as suite

RANK = """
import os, torch, torch.distributed as dist
place = {}
if "+debian" in torch.__version__:  # built without libuv, which init_process_group asks for
    world = int(os.environ["WORLD_SIZE"])
    place = {"rank": int(os.environ["RANK"]), "world_size": world, "store": dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world, False, use_libuv=False)}
dist.init_process_group("gloo", **place)
rank, world = dist.get_rank(), dist.get_world_size()
total = torch.tensor([float(rank + 1)])
dist.all_reduce(total)
assert total.item() == world * (world + 1) / 2, total
names = [None] * world
dist.all_gather_object(names, f"rank {rank}")
assert names == [f"rank {index}" for index in range(world)], names
group = dist.new_group(list(range(0, world, 2)))
if rank % 2 == 0:
    dist.barrier(group)
dist.barrier()
dist.destroy_process_group()  # or torch 2.13 may abort behind the last line, with its threads alive
print("rank", rank, "of", world, "done", flush=True)
"""


def finish(children, what, seconds):
    deadline = time.monotonic() + seconds
    outputs = []
    for child in children:
        try:
            output, _ = child.communicate(timeout=max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            for other in children:
                other.kill()
            raise SystemExit(f"{what}: not done after {seconds} s")
        outputs.append(output)
        if child.returncode != 0:
            for other in children:
                other.kill()
            raise SystemExit(f"{what}: exit {child.returncode}\n{output}")
    return "".join(outputs)


def start(arguments, extra):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **extra}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def expect_ranks(output, world, what):
    done = sum(f"rank {rank} of {world} done" in output for rank in range(world))
    if done != world:
        raise SystemExit(f"{what}: {done} of {world} ranks done\n{output}")
    print(f"{what}: ok")


def ranks_by_hand(python, version, port, script, world):
    what = f"torch {version}, {world} gloo ranks"
    children = [
        start([python, script], {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0", "RANK": str(rank), "WORLD_SIZE": str(world)})
        for rank in range(world)]
    expect_ranks(finish(children, what, 200), world, what)


def torchrun_gang(python, version, port, script, agents=3, ranks=2):
    what = f"torch {version}, torchrun with {agents} agents of {ranks} ranks"
    with tempfile.TemporaryDirectory() as logs:
        children = [
            start([python, "-m", "torch.distributed.run", "--nnodes", str(agents), "--nproc_per_node", str(ranks),
                   "--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{port}", "--rdzv_conf", "is_host=0",
                   "--rdzv_id", f"gang-{version}", "--log_dir", logs, "--redirects", "1", "--tee", "1", script], {})
            for _ in range(agents)]
        expect_ranks(finish(children, what, 200), agents * ranks, what)


def main():
    found = suite.pythons()
    if not found:
        print("no Python with torch: set MEGALAUNCH_PYTHONS, or install python3-torch")
        return 77
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(RANK)
        script.flush()
        store, port = suite.start_store()
        try:
            oldest = min(found, key=lambda python: [int(part) for part in found[python].split(".")[:2]])
            ranks_by_hand(oldest, found[oldest], port, script.name, 16)
            for python, version in found.items():
                if "+debian" in version:
                    print(f"torch {version}: skipped its torchrun, which was built without libuv and asks for it")
                    continue
                torchrun_gang(python, version, port, script.name)
        finally:
            store.terminate()
            store.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
