"""How the ranks of tests and benchmarks meet in their launcher's store, whichever torch they have."""

# Goes in front of a rank's script. Debian 13 builds torch without libuv, which init_process_group asks for whatever it is told:
# there, the ranks open the store themselves.
MEET = '''
import datetime, os, torch, torch.distributed as dist

def meet(backend, seconds=600):
    limit, place = datetime.timedelta(seconds=seconds), {}
    if "+debian" in torch.__version__:
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        hosts = rank == 0 and os.environ["TORCHELASTIC_USE_AGENT_STORE"] != "True"
        store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size, hosts, limit, use_libuv=False)
        place = {"store": store, "rank": rank, "world_size": world_size}
    dist.init_process_group(backend, timeout=limit, **place)
'''
