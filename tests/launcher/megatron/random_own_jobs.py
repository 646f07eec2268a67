#!/usr/bin/env python3
"""Random job files of own mode against a second writing of Megatron's start-up checks: random_own_jobs.py MEGALAUNCH [N [SEED]]

Draws until N jobs were accepted. What `render` accepts must pass script_model.rejects() without a failure or a silent
change, judged by the rendered command line alone; what it refuses must fail there, or for a reason of megalaunch's own.
"""
import concurrent.futures
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from own_jobs import MODELS, random_job, render
import script_model

OURS = {'recompute-layers-not-dividing-stage', 'hidden-not-divisible-by-heads'}    # no check of the program's start-up


def second_opinion(args, world, name):
    value = lambda option: int(args[args.index(option) + 1])
    model = MODELS[name]
    if model is None:
        model = (value('--num-layers'), value('--hidden-size'), value('--num-attention-heads'), value('--ffn-hidden-size'),
                 value('--num-attention-heads'), value('--max-position-embeddings'), 0)
        args = args + ['--load', 'not needed']
    bad, silent = script_model.rejects(args, world, 'llama' in name, model)
    if name == 'gpt':
        bad = [code for code in bad if code != 'query-groups-not-divisible-by-tp']    # every head is a group of its own
    if model[1] % model[2]:
        bad.append('hidden-not-divisible-by-heads')
    return set(bad) | set(silent)


def judge(binary, job, world):
    """(accepted, complaint)"""
    rc, strict = render(binary, job)
    errors = {c['code'] for c in strict.get('checks', []) if c['level'] == 'error'}
    if rc not in (0, 3):
        return False, 'exit %d: %s' % (rc, strict)
    if (rc == 3) != bool(errors):
        return False, 'exit %d with errors %s' % (rc, errors)
    said = second_opinion(strict['program_args'], world, job['megatron']['model'])
    if errors - OURS != said - OURS:
        return rc == 0, 'checks %s, second opinion %s' % (sorted(errors), sorted(said))
    return rc == 0, ''


def main():
    binary, wanted, seed = sys.argv[1], int((sys.argv[2:] or ['1000'])[0]), int((sys.argv[3:] or ['1'])[0])
    r = random.Random(seed)
    accepted = refused = missed = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while accepted < wanted and missed < 5:
            jobs = [random_job(r) for _ in range(200)]
            for (job, world), (ok, complaint) in zip(jobs, pool.map(lambda j: judge(binary, *j), jobs)):
                accepted, refused = accepted + ok, refused + (not ok)
                if complaint:
                    missed += 1
                    print(complaint, job['megatron'], world)
    print('%d jobs accepted, %d refused, %d of them judged otherwise by the second opinion' % (accepted, refused, missed))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
