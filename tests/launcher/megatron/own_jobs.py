"""Random job files of own mode, for the tests that compare the checks with Megatron's."""
import json
import subprocess
import tempfile

MODELS = {  # layers, hidden, heads, ffn, groups, positions, vocabulary
    'llama3.1-8b': (32, 4096, 32, 14336, 8, 131072, 128256), 'llama3.1-70b': (80, 8192, 64, 28672, 8, 131072, 128256),
    'qwen2.5-0.5b': (24, 896, 14, 4864, 2, 32768, 151936), 'qwen2.5-1.5b': (28, 1536, 12, 8960, 2, 32768, 151936),
    'qwen2.5-3b': (36, 2048, 16, 11008, 2, 32768, 151936), 'qwen2.5-7b': (28, 3584, 28, 18944, 4, 131072, 152064),
    'qwen2.5-14b': (48, 5120, 40, 13824, 8, 131072, 152064), 'qwen2.5-32b': (64, 5120, 40, 27648, 8, 131072, 152064),
    'qwen2.5-72b': (80, 8192, 64, 29568, 8, 131072, 152064), 'gpt': None}


def random_job(r, model=None, likely=0.85):
    """(job as a dictionary, world): sensible with probability `likely` per setting, arbitrary otherwise."""
    model = model or r.choice(list(MODELS))
    sane = lambda good, bad: r.choice(good) if r.random() < likely else r.choice(bad)
    nodes, gpus = r.choice([1, 2, 4, 8, 16]), sane([8], [1, 2, 4, 6])
    megatron = {
        'model': model, 'root': 'tree', 'precision': r.choice(['bf16', 'fp16', 'fp8']),
        'parallel': {'tp': sane([1, 1, 2, 2, 4], [8, 3, 16]), 'pp': sane([1, 2, 2, 4], [3, 5, 6, 7, 8, 16]), 'cp': sane([1, 1, 2], [3, 4, 8]),
                     'sequence': r.random() < 0.8, 'virtual_stage_layers': sane(['auto', 'none'], [1, 2, 3, 4, 5])},
        'batch': {'micro': sane([1, 1, 2], [3, 4]), 'global': sane([1024, 512, 2048], [8, 1000, 128]),
                  'sequence_length': sane([4096, 8192, 2048], [200000, 4098, 1023, 32768])},
        'optimizer': {'lr': sane(['1e-5', '3e-4'], ['1e-6']), 'min_lr': sane(['1e-6', '0'], ['1e-4']),
                      'distributed': r.random() < 0.8, 'offload': 'none' if model == 'gpt' else sane(['none'], ['static', 'auto'])},
        'activations': {'mode': sane(['none', 'selective', 'full'], ['none'] if model == 'gpt' else ['offload']), 'layers': sane([1], [2, 3, 4, 100])},
        'flash_attention': r.random() < 0.8,
        'data': {'train': ['/data/a']},
        'train': {'tokens': sane([100000000000], [1000000, 0]), 'warmup_tokens': sane([1000000000, 100000000], [0, 200000000000])},
    }
    if model == 'gpt':
        megatron['tokenizer'] = '/data/tokenizer'
        heads = r.choice([32, 40])
        megatron['sizes'] = {'layers': r.choice([32, 40]), 'hidden': sane([heads * 128], [4100]), 'ffn': sane([11008], [11010]), 'heads': heads}
    else:
        if r.random() < 0.95:
            megatron['load'] = '/data/model'
        if r.random() < 0.2:
            megatron['data'].update(type='raw', valid=['/data/v'])
        if r.random() < 0.2:
            megatron['data']['packing'] = True
        if r.random() < 0.3:
            megatron['train'] = {'mode': 'finetune', 'iterations': 1000, 'warmup_iterations': sane([100], [1000, 2000])}
    job = {'version': 1, 'name': 'random', 'workdir': '/data/project', 'output': '/data/out',
           'launch': {'nodes': nodes, 'ranks_per_node': gpus, 'endpoint': 'head:29500'}, 'megatron': megatron}
    return job, nodes * gpus


def render(binary, job, *more):
    """(exit status, printed object) of `render --json`; JSON is YAML."""
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:
        json.dump(job, file)
        file.flush()
        run = subprocess.run([binary, 'render', file.name, '--json', '--at', '2024-11-07T16:27:21', *more], capture_output=True,
                             text=True, env={'PATH': '/usr/bin:/bin'})
    return run.returncode, json.loads(run.stdout)
