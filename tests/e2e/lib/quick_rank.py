"""Runs a training script the way `python script arguments...` would, without two things that cost the soak most of its time
and have nothing to do with it: torch._dynamo, which torch's optimizers import only to switch it off (1.4 s of every rank),
and the interpreter's teardown (0.5 s).

    python quick_rank.py train.py --arguments ...
"""

import os
import runpy
import sys
import types



class NoDynamo(types.ModuleType):
    """What torch calls of it outside of torch.compile does nothing."""
    trace_rules = types.SimpleNamespace(clear_lru_cache=lambda: None)

    @staticmethod
    def disable(function=None, recursive=True, wrapping=True):
        return function

    @staticmethod
    def graph_break(*_):
        pass


sys.modules["torch._dynamo"] = NoDynamo("torch._dynamo")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
