#!/usr/bin/env python3
"""Random settings through the scripts' model (script_model.py) and through `megalaunch render`: random_scripts.py MEGALAUNCH [N [SEED]]

Every option combination that a script accepts is drawn, legal and illegal. The command, environment, directories, place in
the gang and the set of the checks' codes must be the same; the exit status must be 3 exactly when the program would refuse.
"""
import concurrent.futures
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script_model
import to_job

SCRIPTS = ['gpt-pretrain', 'llama3_1-upstream', 'llama3_1-cluster-vpenv', 'llama3_1-cluster-8b', 'llama3_1-cluster-70b',
           'qwen2_5-upstream', 'qwen2_5-cluster-14b', 'qwen2_5-cluster-72b']


def common(r, script):
    env = {'WORLD_SIZE': r.choice(['1', '2', '3', '4', '8', '16']), 'RANK': '0', 'MASTER_ADDR': 'job-master-0',
           'MASTER_PORT': str(r.randrange(20000, 30000))}
    env['KUBERNETES_CONTAINER_RESOURCE_GPU' if script.endswith('upstream') else 'TQ_GPU_NUM'] = r.choice(['8', '8', '8', '4', '2', '6'])
    env['OUTPUT_DIR'] = r.choice(['/data/out', '/data/out/job-7', '/data/out/', '/data/o.u-t_'])
    for name, values in (('MP_VP', ['', '1', '2', '3', '4', '5', '0', '8']), ('MP_AC_LAYERS', ['', '1', '2', '3', '4', '5', '32', '80', '010']),
                         ('MP_DATASET_TYPE', ['', 'raw', 'idxmap']), ('MP_SFT_PACKING', ['', 'true', 'false']),
                         ('PYTHONPATH', ['/data/extra/lib', 'a:b'])):
        if r.random() < 0.4:
            env[name] = r.choice(values)
    time = '2024-%02d-%02dT%02d:%02d:%02d' % (r.randrange(1, 13), r.randrange(1, 29), r.randrange(24), r.randrange(60), r.randrange(60))
    return {'id': 'random', 'script': script, 'env': env, 'time': time}


def gpt_case(r):
    case = common(r, 'gpt-pretrain')
    for name in ('MP_VP', 'MP_AC_LAYERS', 'MP_DATASET_TYPE', 'MP_SFT_PACKING'):
        case['env'].pop(name, None)
    case['env']['DATAINDEX'] = r.choice(['1', '6', 'abc'])
    if r.random() < 0.5:
        del case['env']['OUTPUT_DIR']
    if r.random() < 0.5:
        case['env']['SEEN_STEPS'] = r.choice(['0', '1000', '77'])
    if r.random() < 0.3:
        case['env']['LOG_DIR'] = '/data/logs/x'
    case['params'] = {'TP': '1', 'PP': r.choice(['1', '2']), 'CP': r.choice(['1', '2']), 'SEQ_LENGTH': r.choice(['2048', '4096', '8192']),
                      'GLOBAL_BATCH_SIZE': r.choice(['1536', '3072']), 'MICRO_BATCH_SIZE': r.choice(['1', '2']), 'LR': r.choice(['1e-4', '3E-4']),
                      'MIN_LR': r.choice(['3e-5', '0', '0.00001']), 'LR_WARMUP_STEPS': r.choice(['50', '200']), 'NUM_LAYERS': r.choice(['32', '40']),
                      'HIDDEN_SIZE': r.choice(['4096', '5120']), 'FFN_HIDDEN_SIZE': '11008', 'NUM_HEADS': r.choice(['32', '40'])}
    case['env'].update(WORLD_SIZE=r.choice(['1', '2', '4']), TQ_GPU_NUM='8')
    lines = ['# list'] * r.randrange(2) + ['%d /data/p%d' % (r.randrange(10**9, 10**12), i) for i in range(r.randrange(1, 6))]
    r.shuffle(lines)
    blank = '\n' * r.randrange(2)
    case['files'] = {'/data/datalist_x': '\n'.join(lines) + '\n' + blank, '/data/valid-datalist': '1 /data/v\n'}
    return case


def patch_case(r, script):
    case = common(r, script)
    model = 'llama' if 'llama' in script else 'qwen'
    sft = r.random() < 0.4
    p = {'ENV': 'dsw' if r.random() < 0.25 else 'dlc', 'MODEL_SIZE': r.choice(list(script_model.LLAMA if model == 'llama' else script_model.QWEN)),
         'BATCH_SIZE': r.choice(['1', '1', '1', '2', '4', '3']), 'GLOBAL_BATCH_SIZE': r.choice(['1024', '1024', '512', '2048', '128', '16', '1000', '01000']),
         'LR': r.choice(['1e-5', '1.5e-4', '0.00002', '1E-5', '3e-4']), 'MIN_LR': r.choice(['1e-6', '0', '0.000001', '3e-5', '1e-4']),
         'SEQ_LEN': r.choice(['8192', '4096', '8192', '1024', '32768', '131072', '200000', '4098', '8190']),
         'PAD_LEN': r.choice(['8192', '128']), 'PR': r.choice(['bf16', 'fp16', 'fp8']), 'TP': r.choice(['1', '1', '2', '2', '4', '8', '3', '16']),
         'PP': r.choice(['1', '2', '2', '4', '4', '8', '3', '5', '16', '6']), 'CP': r.choice(['1', '1', '1', '2', '4', '3']),
         'SP': r.choice(['true', 'true', 'true', 'false']), 'DO': r.choice(['true', 'true', 'true', 'false']), 'FL': r.choice(['true', 'false']),
         'SFT': 'true' if sft else 'false', 'AC': r.choice(['none', 'false', 'sel', 'full', 'offload', 'none']),
         'OPTIMIZER_OFFLOAD': r.choice(['false', 'false', 'static', 'auto']), 'SAVE_INTERVAL': r.choice(['100', '100000']),
         'DATASET_PATH': r.choice(['/data/a_document', '0.3 /data/a 0.7 /data/b', '3 /data/a 7 /data/b']), 'VALID_DATASET_PATH': r.choice(['/data/v', '1 /data/v 2 /data/w']),
         'PRETRAIN_CHECKPOINT_PATH': r.choice(['/data/models/X', '/data/models/Y/']), 'TRAIN_TOKENS': r.choice(['100000000000', '1000000', '123456789012', '0', '9223372036854775807']),
         'WARMUP_TOKENS': r.choice(['100000000', '0', '10000000000', '987654321'])}
    iterations, warmup = r.choice(['10000', '100', '25', '0']), r.choice(['100', '60', '0', '2', '10'])
    if script.endswith('upstream'):
        p['OUTPUT_BASEPATH'] = case['env'].pop('OUTPUT_DIR')
        if sft:
            p['TRAIN_TOKENS'], p['WARMUP_TOKENS'] = iterations, warmup
    elif sft:
        case['positional'] = ['_'] * 22 + [iterations, warmup]
    if p['ENV'] == 'dsw':
        case['dsw_port'] = r.randrange(10000, 65536)
    case['params'] = p
    return case


def render(binary, case, *more):
    with tempfile.TemporaryDirectory() as folder:
        text, env, flags = to_job.job(case, folder)
        with open(folder + '/job.yaml', 'w') as f:
            f.write(text)
        run = subprocess.run([binary, 'render', folder + '/job.yaml', '--json', *flags, *more], capture_output=True, text=True,
                             env={'PATH': '/usr/bin:/bin', **env})
    return run.returncode, json.loads(run.stdout), run.stderr


def judge(binary, case):
    want = script_model.expected(case)
    rc, got, err = render(binary, case, '--no-checks')
    if rc != 0:
        return 'exit %d with --no-checks: %s' % (rc, err[-300:])
    for key in ('entry', 'cwd', 'program_args', 'nodes', 'ranks_per_node', 'endpoint'):
        if got[key] != want[key]:
            return '%s: %r, want %r' % (key, got[key], want[key])
    if got['env'] != want['env']:
        return 'env: %r, want %r' % (got['env'], want['env'])
    if got['directories'] != want['directories']:
        return 'directories: %r, want %r' % (got['directories'], want['directories'])
    errors = {c['code'] for c in got['checks'] if c['level'] == 'error'}
    warnings = {c['code'] for c in got['checks'] if c['level'] == 'warning'}
    ours = errors - {'recompute-layers-not-dividing-stage', 'hybridadam-needs-distributed-optimizer'}
    if ours != set(want['rejects']):
        return 'errors: %r, want %r' % (sorted(ours), sorted(want['rejects']))
    if ('recompute-layers-not-dividing-stage' in errors) != bool(want.get('refused')):
        return 'recompute layers: %r, want %r' % (errors, want.get('refused'))
    if not set(want['silent']) <= warnings:
        return 'warnings: %r, want %r' % (sorted(warnings), sorted(want['silent']))
    rc = render(binary, case)[0]
    return '' if rc == (3 if errors else 0) else 'exit %d with errors %r' % (rc, sorted(errors))


def main():
    binary, count, seed = sys.argv[1], int((sys.argv[2:] or ['400'])[0]), int((sys.argv[3:] or ['1'])[0])
    r = random.Random(seed)
    cases = []
    for i in range(count):
        script = SCRIPTS[i % len(SCRIPTS)]
        cases.append(gpt_case(r) if script == 'gpt-pretrain' else patch_case(r, script))
    clean = missed = 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for case, said in zip(cases, pool.map(lambda c: judge(binary, c), cases)):
            clean += not script_model.expected(case)['rejects']
            if said:
                missed += 1
                if missed <= 5:
                    print(case['script'], said, json.dumps(case['params']), json.dumps(case['env']))
    print('%d of %d random cases agree (%d of them pass the checks)' % (count - missed, count, clean))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
