#!/usr/bin/env python3
"""Trains a small character-level GPT, data-parallel over all ranks. Example job for megalaunch (gpt.yaml beside it).

It needs torch alone (1.13 or newer), makes its own text, and runs wherever the variables of torchrun are set: gloo on
CPUs, NCCL where every local rank has a GPU. It logs, saves and resumes the way Megatron-LM does, so that whatever
reads Megatron's output can be tried on it in half a minute.

The --fault options are for demonstration: they make one rank fail on purpose, in the first generation only.
"""

import argparse
import math
import os
import random
import shutil
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

FAULTS = ["exit", "exception", "kill", "segfault", "hang", "nan", "import"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--train-iters", type=int, default=100, help="iterations in all, those of an earlier run included")
    add("--micro-batch-size", type=int, default=4, help="sequences per rank and iteration")
    add("--seq-length", type=int, default=64, help="characters per sequence")
    add("--num-layers", type=int, default=2)
    add("--hidden-size", type=int, default=64)
    add("--num-attention-heads", type=int, default=4)
    add("--lr", type=float, default=8e-3)
    add("--min-lr", type=float, default=8e-4)
    add("--lr-warmup-iters", type=int, default=10)
    add("--clip-grad", type=float, default=1.0)
    add("--seed", type=int, default=1234)
    add("--corpus", type=Path, help="a text file to learn from; default: text made from a small grammar")
    add("--log-interval", type=int, default=10)
    add("--save", type=Path, help="folder for checkpoints; training resumes from the newest one in it")
    add("--save-interval", type=int, default=20)
    add("--exit-signal-handler", action="store_true", help="on SIGTERM: finish the iteration, save, exit 0")
    add("--sample", type=int, default=160, help="characters that the model writes at the end; 0: none")
    add("--backend", choices=["auto", "gloo", "nccl"], default="auto")
    add("--timeout", type=float, default=600, help="seconds that a collective operation may take")
    add("--fault", choices=FAULTS, help="demonstration: how a rank fails")
    add("--fault-rank", type=int, default=0, help="demonstration: which rank fails")
    add("--fault-iteration", type=int, default=5, help="demonstration: before which iteration")
    add("--fault-code", type=int, default=7, help="demonstration: the status of --fault exit")
    return parser.parse_args()


args = parse_arguments()
for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
    os.environ.setdefault(name, value)  # so that it also runs alone, without a launcher
rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
local_rank, local_world_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
fault_is_mine = (args.fault and rank == args.fault_rank
                 and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0")

if fault_is_mine and args.fault == "import":
    import a_module_that_is_not_installed  # noqa: F401
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F


# --- the text -------------------------------------------------------------------------------------------------------

GRAMMAR = {
    "S": ["NP VP.", "NP VP, and NP VP.", "When NP VP, NP VP.", "NP says that NP VP.", "After a while, NP VP."],
    "NP": ["the N", "the A N", "a A N", "every N of the N", "one N near the N", "the N beside the A N"],
    "VP": ["V NP", "V NP with great care", "slowly V NP", "never V NP", "V NP at night", "V NP before the N comes"],
    "N": ["captain", "river", "engine", "garden", "keeper", "lantern", "mountain", "pilot", "harbour", "signal",
          "teacher", "valley", "weaver", "winter", "wheel", "village", "train", "sailor", "baker", "clock"],
    "A": ["old", "quiet", "bright", "narrow", "patient", "wooden", "distant", "sleeping", "curious", "heavy"],
    "V": ["watches", "follows", "repairs", "remembers", "carries", "guards", "finds", "calls", "paints", "measures"],
}


def make_corpus(size, seed):
    """About `size` characters of English-looking sentences; the same for the same seed."""
    chosen = random.Random(seed)

    def expand(symbol):
        words = []
        for word in chosen.choice(GRAMMAR[symbol]).split():
            key = word.rstrip(".,")
            words.append(expand(key) + word[len(key):] if key in GRAMMAR else word)
        return " ".join(words)

    sentences, length = [], 0
    while length < size:
        sentence = expand("S")
        sentence = sentence[0].upper() + sentence[1:]
        sentences.append(sentence + ("\n" if chosen.random() < 0.2 else " "))
        length += len(sentences[-1])
    return "".join(sentences)


def draw_batch(data, iteration):
    """Sequences that only this rank sees in this iteration. Depends on nothing else, so that a resumed run continues."""
    generator = torch.Generator().manual_seed((args.seed * 1000003 + iteration) * 4099 + rank)
    starts = torch.randint(len(data) - args.seq_length - 1, (args.micro_batch_size,), generator=generator)
    rows = torch.stack([data[start:start + args.seq_length + 1] for start in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]


# --- the model ------------------------------------------------------------------------------------------------------

class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def forward(self, x, mask):
        batch, length, hidden = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1]) + mask
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, hidden))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        hidden = args.hidden_size
        self.tokens, self.places = nn.Embedding(vocabulary, hidden), nn.Embedding(args.seq_length, hidden)
        self.blocks = nn.ModuleList(Block(hidden, args.num_attention_heads) for _ in range(args.num_layers))
        self.norm, self.head = nn.LayerNorm(hidden), nn.Linear(hidden, vocabulary, bias=False)
        mask = torch.full((args.seq_length, args.seq_length), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens):
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.places.weight[:length]
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        return self.head(self.norm(x))


def flops_per_iteration(batch, vocabulary):
    """Megatron's formula, with this model's plain feed-forward of 4 times the hidden size."""
    h, s = args.hidden_size, args.seq_length
    return 6 * batch * s * (args.num_layers * (4 * h * h + 8 * h * h + 2 * h * s) + vocabulary * h)


@torch.no_grad()
def write_text(model, alphabet, device):
    index = {character: i for i, character in enumerate(alphabet)}
    tokens = torch.tensor([[index.get(c, 0) for c in "The "]], device=device)
    generator = torch.Generator().manual_seed(args.seed)
    for _ in range(args.sample):
        odds = (model(tokens[:, -args.seq_length:])[0, -1] / 0.5).softmax(-1).cpu()
        tokens = torch.cat([tokens, torch.multinomial(odds, 1, generator=generator).view(1, 1).to(device)], 1)
    return "".join(alphabet[i] for i in tokens[0].tolist())


# --- checkpoints, in Megatron's layout ---------------------------------------------------------------------------------

def save_checkpoint(iteration, model, optimizer):
    """Rank 0 alone writes. A checkpoint appears under its name when it is complete; the tracker file follows it."""
    if rank == 0:
        print(f"saving checkpoint at iteration {iteration:7d} to {args.save}", flush=True)
        folder = args.save / f"iter_{iteration:07d}"
        partial = args.save / f".iter_{iteration:07d}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "mp_rank_00").mkdir(parents=True)
        with open(partial / "mp_rank_00" / "model_optim_rng.pt", "wb") as file:
            torch.save({"iteration": iteration, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        tracker = args.save / "latest_checkpointed_iteration.txt"
        tracker.with_suffix(".partial").write_text(str(iteration))
        tracker.with_suffix(".partial").replace(tracker)
        print(f"  successfully saved checkpoint at iteration {iteration:7d} to {args.save}", flush=True)
    dist.barrier()


def load_checkpoint(model, optimizer, device):
    """Rank 0 reads and the others get it from there, so that only node 0 needs to see the folder."""
    state = None
    tracker = args.save and args.save / "latest_checkpointed_iteration.txt"
    if rank == 0 and tracker and tracker.exists():
        iteration = int(tracker.read_text())
        state = torch.load(args.save / f"iter_{iteration:07d}" / "mp_rank_00" / "model_optim_rng.pt", map_location="cpu")
        print(f"  successfully loaded checkpoint from {args.save} at iteration {iteration}", flush=True)
    box = [state]
    dist.broadcast_object_list(box, src=0, device=device)
    if box[0] is None:
        return 0
    model.load_state_dict(box[0]["model"])
    optimizer.load_state_dict(box[0]["optimizer"])
    return box[0]["iteration"]


# --- training -------------------------------------------------------------------------------------------------------

def fail_on_purpose():
    print(f"rank {rank} fails on purpose: --fault {args.fault}", file=sys.stderr, flush=True)
    if args.fault == "exit":
        os._exit(args.fault_code)
    elif args.fault == "exception":
        raise RuntimeError("this rank was asked to fail")
    elif args.fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif args.fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif args.fault == "hang":
        time.sleep(1e6)


def learning_rate(iteration):
    if iteration <= args.lr_warmup_iters:
        return args.lr * iteration / args.lr_warmup_iters
    done = (iteration - args.lr_warmup_iters) / max(1, args.train_iters - args.lr_warmup_iters)
    return args.min_lr + (args.lr - args.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def reduce_gradients(parameters, loss, stop_asked):
    """Averages all gradients over the ranks, in one all-reduce that also carries the loss and the wish to stop."""
    extra = torch.stack([loss.detach(), torch.tensor(float(stop_asked), device=loss.device)])
    flat = torch.cat([p.grad.reshape(-1) for p in parameters] + [extra])
    dist.all_reduce(flat)
    flat /= world_size
    offset = 0
    for p in parameters:
        p.grad.copy_(flat[offset:offset + p.numel()].view_as(p))
        offset += p.numel()
    return float(flat[-2]), float(flat[-1]) > 0


def meet(backend, timeout):
    """All ranks meet in the launcher's store. Debian 13 builds torch without libuv, which init_process_group asks for
    whatever it is told: there, the ranks open the store themselves."""
    place = {}
    if "+debian" in torch.__version__:
        store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size, False, timeout, use_libuv=False)
        place = {"store": store, "rank": rank, "world_size": world_size}
    dist.init_process_group(backend, timeout=timeout, **place)


def main():
    torch.set_num_threads(1)
    use_gpu = args.backend != "gloo" and torch.cuda.is_available() and torch.cuda.device_count() >= local_world_size
    device = torch.device("cuda", local_rank) if use_gpu else torch.device("cpu")
    if use_gpu:
        torch.cuda.set_device(device)
    backend = args.backend if args.backend != "auto" else ("nccl" if use_gpu else "gloo")
    meet(backend, timedelta(seconds=args.timeout))
    stop = {"asked": False}
    if args.exit_signal_handler:
        signal.signal(signal.SIGTERM, lambda *_: stop.update(asked=True))

    text = args.corpus.read_text() if args.corpus else make_corpus(200_000, args.seed)
    alphabet = sorted(set(text))
    index = {character: i for i, character in enumerate(alphabet)}
    data = torch.tensor([index[character] for character in text])

    torch.manual_seed(args.seed)  # the same start on every rank
    model = Gpt(len(alphabet)).to(device)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.1)
    first = load_checkpoint(model, optimizer, device)
    global_batch = args.micro_batch_size * world_size
    if rank == 0:
        print(f"using world size: {world_size}, data-parallel size: {world_size}, backend: {backend}, "
              f"torch: {torch.__version__}, parameters: {sum(p.numel() for p in parameters)}, "
              f"characters: {len(text)}, generation: {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", flush=True)

    if first >= args.train_iters and rank == 0:
        print(f"nothing left to train: {args.save} has iteration {first} of {args.train_iters}", flush=True)

    nan_iterations, losses, since = 0, [], time.perf_counter()
    for iteration in range(first + 1, args.train_iters + 1):
        if fault_is_mine and iteration == args.fault_iteration and args.fault != "nan":
            fail_on_purpose()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration)
        inputs, targets = draw_batch(data, iteration)
        logits = model(inputs.to(device))
        loss = F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten())
        if fault_is_mine and args.fault == "nan" and iteration >= args.fault_iteration:
            loss = loss * float("nan")
        optimizer.zero_grad()
        loss.backward()
        loss_value, stop_now = reduce_gradients(parameters, loss, stop["asked"])
        grad_norm = float(nn.utils.clip_grad_norm_(parameters, args.clip_grad))
        if math.isfinite(loss_value):
            optimizer.step()
            losses.append(loss_value)
        else:
            nan_iterations += 1

        if iteration % args.log_interval == 0 or iteration in (1, args.train_iters):
            count = len(losses) + nan_iterations
            elapsed = (time.perf_counter() - since) / max(1, count)
            if rank == world_size - 1:
                flops = flops_per_iteration(global_batch, len(alphabet)) / elapsed / world_size / 1e12
                mean = sum(losses) / len(losses) if losses else float("nan")
                print(f" [{datetime.now():%Y-%m-%d %H:%M:%S}] iteration {iteration:8d}/{args.train_iters:8d} |"
                      f" consumed samples: {iteration * global_batch:12d} |"
                      f" elapsed time per iteration (ms): {elapsed * 1000:.1f} |"
                      f" throughput per GPU (TFLOP/s/GPU): {flops:.3f} |"
                      f" learning rate: {learning_rate(iteration):.6E} | global batch size: {global_batch:5d} |"
                      f" lm loss: {mean:.6E} | loss scale: 1.0 | grad norm: {grad_norm:.3f} |"
                      f" number of skipped iterations: {0:3d} | number of nan iterations: {nan_iterations:3d} |",
                      flush=True)
            nan_iterations, losses, since = 0, [], time.perf_counter()
        if args.save and (iteration % args.save_interval == 0 or iteration == args.train_iters or stop_now):
            save_checkpoint(iteration, model, optimizer)
        if stop_now:
            break

    if args.sample and rank == 0:
        print("the model writes: " + " ".join(write_text(model, alphabet, device).split()), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
