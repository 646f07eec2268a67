#!/usr/bin/env python3
"""A recorded case as a job file: how the launch scripts' settings map to job keys.

    to_job.py CASE_ID DIR [--cases FILE]     write DIR/job.yaml and DIR/env (NAME=VALUE lines), print the extra render flags
    as a module: job(case, dir) -> (yaml text, environment, render flags)
"""
import json, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
FAMILY = {'gpt-pretrain': 'gpt', 'llama3_1': 'llama3.1', 'qwen2_5': 'qwen2.5'}
HONOUR_MP_VP = ('qwen2_5-upstream', 'llama3_1-cluster-vpenv')      # the others overwrite it
SETTINGS = ('MP_VP', 'MP_AC_LAYERS', 'MP_DATASET_TYPE', 'MP_SFT_PACKING', 'DATAINDEX', 'SEEN_STEPS', 'LOG_DIR')   # read by the scripts, job keys here
TOKENIZER = '/data/nfs66/datasets/Megatron-LM-main/tokenizers/qwen2'      # fixed in gpt-pretrain
ACTIVATIONS = {'none': 'none', 'false': 'false', 'sel': 'selective', 'full': 'full', 'offload': 'offload'}


def scalar(text):
    """A setting as a YAML scalar, spelled as the script spells it; quoted only where YAML needs it."""
    if text is None or text == '':
        return '~'
    plain = all(c.isalnum() or c in '._/+-' for c in text) and text[0] not in '-.' and text not in ('~', 'null')
    return text if plain else json.dumps(text)


def section(lines, name, pairs):
    pairs = [(k, v) for k, v in pairs if v is not None]
    if pairs:
        lines.append('  %s: {%s}' % (name, ', '.join('%s: %s' % kv for kv in pairs)))


def words(text):
    return '[%s]' % ', '.join(scalar(w) for w in (text or '').split())


def job(case, folder):
    s, p, e = case['script'], case['params'], case['env']
    flags = ['--at', case['time']]
    if 'dsw_port' in case:
        flags += ['--port', str(case['dsw_port'])]
    up, gpt = s.endswith('-upstream'), s == 'gpt-pretrain'
    kind = 'tianqing' if gpt or not up and p['ENV'] == 'dlc' else p['ENV']
    out = ['version: 1', 'name: ' + case['id'], 'platform: ' + kind, 'workdir: /data/project']
    if up:
        out.append('output: ' + scalar(p.get('OUTPUT_BASEPATH')))
    if e.get('LOG_DIR'):
        out.append('logs: {dir: %s}' % scalar(e['LOG_DIR'] + '/logs'))
    out += ['megatron:', '  script: ' + s]
    if gpt:
        out += ['  root: Megatron-LM', '  model: gpt', '  data_index: ' + scalar(e.get('DATAINDEX')), '  tokenizer: ' + TOKENIZER]
        section(out, 'sizes', [('layers', p['NUM_LAYERS']), ('hidden', p['HIDDEN_SIZE']), ('ffn', p['FFN_HIDDEN_SIZE']), ('heads', p['NUM_HEADS'])])
        section(out, 'parallel', [('tp', p['TP']), ('pp', p['PP']), ('cp', p['CP'])])
        section(out, 'batch', [('micro', p['MICRO_BATCH_SIZE']), ('global', p['GLOBAL_BATCH_SIZE']), ('sequence_length', p['SEQ_LENGTH'])])
        section(out, 'optimizer', [('lr', p['LR']), ('min_lr', p['MIN_LR'])])
        section(out, 'train', [('mode', 'datalist'), ('warmup_iterations', p['LR_WARMUP_STEPS']), ('seen_steps', e.get('SEEN_STEPS') or None)])
        paths = []
        for path, text in sorted(case['files'].items()):
            local = os.path.join(folder, os.path.basename(path))
            with open(local, 'w') as f:
                f.write(text)
            paths.append(('extra_valid' if 'valid' in path else 'datalist', local))
        section(out, 'data', paths)
    else:
        family = FAMILY[s.split('-')[0]]
        out += ['  root: Pai-Megatron-Patch', '  model: %s' % scalar('%s-%s' % (family, p['MODEL_SIZE'].lower())), '  precision: ' + scalar(p['PR'])]
        section(out, 'parallel', [('tp', scalar(p['TP'])), ('pp', scalar(p['PP'])), ('cp', scalar(p['CP'])), ('sequence', scalar(p['SP'])),
                                  ('virtual_stage_layers', s in HONOUR_MP_VP and e.get('MP_VP') or 'auto')])
        section(out, 'batch', [('micro', scalar(p['BATCH_SIZE'])), ('global', scalar(p['GLOBAL_BATCH_SIZE'])),
                               ('sequence_length', scalar(p['SEQ_LEN'])), ('padding_length', scalar(p['PAD_LEN']))])
        section(out, 'optimizer', [('lr', scalar(p['LR'])), ('min_lr', scalar(p['MIN_LR'])), ('distributed', scalar(p['DO'])),
                                   ('offload', {'false': 'none'}.get(p['OPTIMIZER_OFFLOAD'], scalar(p['OPTIMIZER_OFFLOAD'])))])
        # a word that the script ignores must not become one that the job file knows
        section(out, 'activations', [('mode', ACTIVATIONS.get(p['AC'], json.dumps('AC=' + p['AC']))), ('layers', e.get('MP_AC_LAYERS') or None)])
        out.append('  flash_attention: ' + scalar(p['FL']))
        if p['SFT'] == 'true':
            pos = case.get('positional') or []
            n, w = (p['TRAIN_TOKENS'], p['WARMUP_TOKENS']) if up else (pos[22:24] + [None, None])[:2]
            section(out, 'train', [('mode', 'finetune'), ('iterations', n), ('warmup_iterations', w)])
        else:
            section(out, 'train', [('mode', 'pretrain'), ('tokens', scalar(p['TRAIN_TOKENS'])), ('warmup_tokens', scalar(p['WARMUP_TOKENS']))])
        section(out, 'data', [('type', e.get('MP_DATASET_TYPE') or None), ('train', words(p['DATASET_PATH'])),
                              ('valid', words(p['VALID_DATASET_PATH'])), ('packing', e.get('MP_SFT_PACKING') or None)])
        out += ['  load: ' + scalar(p['PRETRAIN_CHECKPOINT_PATH']), '  save_interval: ' + scalar(p['SAVE_INTERVAL'])]
    return '\n'.join(out) + '\n', {k: v for k, v in e.items() if k not in SETTINGS}, flags


if __name__ == '__main__':
    a = [x for x in sys.argv[1:] if not x.startswith('--')]
    cases = sys.argv[sys.argv.index('--cases') + 1] if '--cases' in sys.argv else os.path.join(HERE, '../../data/megatron/argv.json')
    case = next(c for c in json.load(open(cases))['cases'] if c['id'] == a[0])
    os.makedirs(a[1], exist_ok=True)
    text, env, flags = job(case, a[1])
    open(os.path.join(a[1], 'job.yaml'), 'w').write(text)
    open(os.path.join(a[1], 'env'), 'w').write(''.join('%s=%s\n' % kv for kv in sorted(env.items())))
    print(' '.join(flags))
