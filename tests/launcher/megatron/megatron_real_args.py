#!/usr/bin/env python3
"""Megatron-LM's own argument parser on what `megalaunch render` gives, without a GPU:

    megatron_real_args.py MEGALAUNCH MEGATRON_TREE [PATCH_TREE] [--shapes N] [--seed S]

Run it with a Python that has torch, numpy and packaging. MEGATRON_TREE is a checkout of Megatron-LM (or of the fork of July
2024 that the scripts use), PATCH_TREE one of Pai-Megatron-Patch; without it only model gpt is tried. For every model it
draws jobs of own mode until N were accepted by the checks: the program must accept each of those, and must refuse each job
that the checks refuse for a reason that it looks at before it builds the model.
"""
import argparse
import contextlib
import importlib.abc
import importlib.machinery
import inspect
import io
import logging
import os
import random
import sys
import types
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from own_jobs import MODELS, random_job, render

# What parse_args, validate_args, the configuration of the transformer and the batch calculator refuse.
SEEN_AT_START = {'world-not-divisible-by-tp', 'world-not-divisible-by-tp-pp-cp', 'tp-comm-overlap-needs-sequence-parallel',
                 'interleaving-needs-pp', 'layers-not-divisible-by-pp', 'stage-layers-not-divisible-by-vp',
                 'param-gather-overlap-needs-distributed-optimizer', 'seq-not-multiple-of-2cp', 'seq-over-max-positions', 'min-lr-over-lr',
                 'gbs-not-divisible-by-mbs-dp', 'heads-not-divisible-by-tp', 'query-groups-not-divisible-by-tp', 'cpu-offload-with-pp',
                 'offload-layers-out-of-range', 'hidden-not-divisible-by-heads'}
# Optional packages that the trees import at the top of modules that are not used here.
OPTIONAL = ('triton', 'six')


class OptionalPackages(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty stand-ins for optional packages that are not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in OPTIONAL:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = mock.MagicMock(name=spec.name, spec_set=None)
        module.__path__, module.__spec__, module.__name__, module.__version__ = [], spec, spec.name, '3.4.0'
        return module

    def exec_module(self, module):
        pass


def load(tree, patch):
    import typing
    import packaging.version
    import torch
    typing.override = getattr(typing, 'override', lambda function: function)    # releases of 2026 want Python 3.12
    sys.meta_path.append(OptionalPackages())
    old = types.ModuleType('pkg_resources')            # the tree of 2024 takes packaging from an old setuptools
    old.packaging = sys.modules['packaging']
    sys.modules.setdefault('pkg_resources', old)
    # As on a machine with a GPU and Transformer Engine.
    torch.cuda.get_device_capability = lambda *_: (9, 0)
    torch.cuda.get_device_properties = lambda *_: types.SimpleNamespace(major=9, minor=0, name='H100')
    as_it_is = lambda *args, **options: args[0] if args and callable(args[0]) else as_it_is
    torch.compile = torch.jit.script = as_it_is        # nothing is run here, and compiling would want the real triton
    sys.path.insert(0, tree)
    provider = None
    if patch:
        spec = importlib.util.spec_from_file_location('patch_arguments', os.path.join(patch, 'megatron_patch', 'arguments.py'))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


        def provider(parser):
            parser.conflict_handler = 'resolve'        # later releases have some of the patch's options themselves
            return module.get_patch_args(parser)
    import megatron.training.arguments as arguments
    import megatron.core.num_microbatches_calculator as calculator
    try:
        import megatron.core.models.common.embeddings.rope_utils as rope
        rope.fused_apply_rotary_pos_emb = rope.fused_apply_rotary_pos_emb_thd = as_it_is
    except ImportError:
        pass                                           # the tree of 2024 has none of it
    return arguments, calculator, provider


def verdict(arguments, calculator, provider, args, env, world):
    """'' when the program goes on, else why not."""
    said = io.StringIO()
    sys.argv = ['program', *args]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith('NVTE')}
    with mock.patch.dict(os.environ, {**inherited, **env, 'WORLD_SIZE': str(world), 'RANK': '0', 'LOCAL_RANK': '0'}, clear=True), \
            contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            parsed = arguments.parse_args(provider)
            arguments.validate_args(parsed)
            arguments.core_transformer_config_from_args(parsed)
            build = getattr(calculator, '_build_num_microbatches_calculator', None) or calculator.build_num_microbatches_calculator
            sizes = dict(rank=0, rampup_batch_size=None, global_batch_size=parsed.global_batch_size, micro_batch_size=parsed.micro_batch_size,
                         data_parallel_size=parsed.data_parallel_size, decrease_batch_size_if_needed=False, step_batch_size_schedule=None)
            build(**{name: sizes.get(name) for name in inspect.signature(build).parameters})
        except SystemExit as stop:
            return 'exit %s: %s' % (stop.code, said.getvalue().strip().splitlines()[-1:])
        except (AssertionError, ValueError, ZeroDivisionError, RuntimeError) as error:
            return '%s: %s' % (type(error).__name__, str(error).splitlines()[:1])
    return ''


def main():
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument('megalaunch'), parser.add_argument('tree'), parser.add_argument('patch', nargs='?')
    parser.add_argument('--shapes', type=int, default=12), parser.add_argument('--seed', type=int, default=1)
    flags = parser.parse_args()
    program = load(flags.tree, flags.patch)
    # Since 2025 the query groups may be fewer than TP: they are copied. The checks follow the fork, which refuses that.
    looked_at = SEEN_AT_START - ({'query-groups-not-divisible-by-tp'} if hasattr(program[0], 'add_megatron_arguments') else set())
    r, missed = random.Random(flags.seed), 0
    for model in MODELS if flags.patch else ['gpt']:
        accepted = refused = wrong = 0
        reasons = set()
        while accepted < flags.shapes or refused < flags.shapes:
            job, world = random_job(r, model)
            rc, got = render(flags.megalaunch, job)
            errors = {c['code'] for c in got['checks'] if c['level'] == 'error'}
            if rc == 3 and not errors & looked_at or rc == 0 and accepted >= flags.shapes or rc == 3 and refused >= flags.shapes:
                continue
            provider = None if model == 'gpt' else program[2]
            why = verdict(program[0], program[1], provider, got['program_args'], got['env'], world)
            accepted, refused = accepted + (rc == 0), refused + (rc == 3)
            if (rc == 0) != (why == ''):
                wrong += 1
                if why not in reasons and len(reasons) < 5:
                    print('%s: checks %s, Megatron says %r\n  %s' % (model, sorted(errors) or 'accept', why or 'fine', ' '.join(got['program_args'])))
                reasons.add(why)
        missed += wrong
        print('%-14s %d accepted, %d refused, %d judged otherwise by Megatron' % (model, accepted, refused, wrong), flush=True)
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
