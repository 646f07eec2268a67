#!/usr/bin/env python3
"""Score a launcher on recorded cases: run_cases.py MEGALAUNCH [--cases FILE] [--verbose]

Each case becomes a job file (to_job.py) and goes through `MEGALAUNCH render JOB --json`:
  valid            exit 0, no checks; entry, program_args, cwd, env, nodes, ranks_per_node, endpoint equal the script's,
                   and directories hold all that the script made
  invalid          exit 3 with every recorded code among the checks' codes; with --no-checks exit 0 and equal
  broken, refused  exit 2 or 3, and the messages name the job key (or variable) at fault; nothing on stdout but JSON
Prints a line per miss and, last, `N of M cases hold`. Exit status 0 when all hold.
"""
import collections, concurrent.futures, json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import to_job

KEY = {'TP': 'parallel.tp', 'PP': 'parallel.pp', 'AC': 'activations.mode', 'PR': 'precision', 'MODEL_SIZE': 'model',
       'GLOBAL_BATCH_SIZE': 'batch.global', 'TRAIN_TOKENS': 'train.tokens', 'PRETRAIN_CHECKPOINT_PATH': 'load',
       'positional arguments 23, 24': 'train.iterations', 'WORLD_SIZE': 'WORLD_SIZE', 'MASTER_ADDR, MASTER_PORT': 'MASTER_ADDR',
       None: 'activations.layers'}


def render(binary, case, *more):
    with tempfile.TemporaryDirectory() as d:
        text, env, flags = to_job.job(case, d)
        with open(d + '/job.yaml', 'w') as f:
            f.write(text)
        r = subprocess.run([binary, 'render', d + '/job.yaml', '--json', *flags, *more], capture_output=True, text=True, timeout=60,
                           env={'PATH': '/usr/bin:/bin', 'HOME': '/root', **env})
    try:
        return r.returncode, json.loads(r.stdout) if r.stdout.strip() else {}, r.stderr
    except ValueError:
        return r.returncode, {}, r.stderr + '\nstdout is not JSON: ' + r.stdout[:200]


def differences(case, got):
    want, bad = case['expect'], []
    for f in ('entry', 'cwd', 'program_args'):
        if got.get(f) != want[f]:
            g = got.get(f)
            if f == 'program_args' and isinstance(g, list):
                i = next((i for i, (a, b) in enumerate(zip(g, want[f])) if a != b), min(len(g), len(want[f])))
                bad.append('program_args[%d]: %r, want %r' % (i, g[i:i + 3], want[f][i:i + 3]))
            else:
                bad.append('%s: %r, want %r' % (f, g, want[f]))
    for n, v in want['env'].items():
        if got.get('env', {}).get(n) != v:
            bad.append('env %s: %r, want %r' % (n, got.get('env', {}).get(n), v))
    la = want['launcher_args']
    arg = lambda n: la[la.index(n) + 1]
    where = arg('--rdzv_endpoint') if '--rdzv_endpoint' in la else arg('--master_addr') + ':' + arg('--master_port')
    for f, v in (('nodes', int(arg('--nnodes'))), ('ranks_per_node', int(arg('--nproc_per_node'))), ('endpoint', where)):
        if got.get(f) != v:
            bad.append('%s: %r, want %r' % (f, got.get(f), v))
    made = [d + '/' for d in got.get('directories', [])]        # with their parents
    missing = {d for d in want['created_dirs'] if not any(m.startswith(d + '/') for m in made)}
    if missing:
        bad.append('directories lack %s' % sorted(missing))
    return bad


def score(binary, case):
    k = case['category']
    try:
        rc, got, err = render(binary, case)
        if k == 'valid':
            return ['exit %d: %s' % (rc, err.strip()[-200:])] if rc else differences(case, got)
        if k == 'invalid':
            codes = {c['code'] for c in got.get('checks', [])}
            lost = [c for c in case['expect'].get('program_rejects', []) if c not in codes]
            if rc != 3 or lost:
                return ['exit %d, codes %s, lacking %s %s' % (rc, sorted(codes), lost, err.strip()[-200:])]
            rc, got, err = render(binary, case, '--no-checks')
            return ['--no-checks: exit %d: %s' % (rc, err.strip()[-200:])] if rc else differences(case, got)
        key = KEY[case.get('defect')]
        said = err + json.dumps(got.get('checks', [])) + json.dumps(got.get('errors', []))
        if rc not in (2, 3):
            return ['exit %d, want a refusal naming %s' % (rc, key)]
        return [] if key in said else ['refused without naming %s: %s' % (key, said.strip()[-200:])]
    except Exception as e:
        return ['%s: %s' % (type(e).__name__, e)]


def main():
    args = sys.argv[1:]
    path = args[args.index('--cases') + 1] if '--cases' in args else os.path.join(to_job.HERE, '../../data/megatron/argv.json')
    cases, tally, held = json.load(open(path))['cases'], collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for case, bad in zip(cases, pool.map(lambda c: score(args[0], c), cases)):
            tally[case['category'], 'holds' if not bad else 'misses'] += 1
            held += not bad
            for line in bad if '--verbose' in args else bad[:1]:
                print(case['id'], case['category'], case['script'], line)
    for (k, w), n in sorted(tally.items()):
        print('%4d %s %s' % (n, k, w))
    print('%d of %d cases hold' % (held, len(cases)))
    return held != len(cases)


if __name__ == '__main__':
    sys.exit(main())
