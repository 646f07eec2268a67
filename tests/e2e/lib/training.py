"""The example job in tests, and Megatron's log lines."""

import re

from . import case

ITERATION = re.compile(r"iteration\s+(\d+)/\s*(\d+) \|.* lm loss: (\S+) \|")


def job(python, folder, iterations=60, save_interval=20, arguments=(), **rest):
    """The example's training as a job; checkpoints go to `folder`/checkpoints."""
    return {"command": [str(python), "-u", str(case.EXAMPLES / "train_gpt.py"), "--train-iters", str(iterations),
                        "--save", str(folder / "checkpoints"), "--save-interval", str(save_interval), "--timeout", "60",
                        "--sample", "0", *map(str, arguments)],
            "restart": {"max": 0, "grace": "10s"}, **rest}


def losses(lines):
    """(iteration, loss) of every iteration line, in order."""
    return [(int(m.group(1)), float(m.group(3))) for line in lines if (m := ITERATION.search(line))]
