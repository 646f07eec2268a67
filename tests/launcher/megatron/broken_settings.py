#!/usr/bin/env python3
"""Settings with which a script starts a damaged command or stops: broken_settings.py MEGALAUNCH

Every such setting, in every script that has it, must be refused with a message that names the job's key or the variable.
"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from random_scripts import SCRIPTS, gpt_case, patch_case, render

BROKEN = [('TP', '0', 'parallel.tp'), ('TP', '', 'parallel.tp'), ('TP', 'two', 'parallel.tp'), ('PP', '0', 'parallel.pp'),
          ('PP', '', 'parallel.pp'), ('CP', '0', 'parallel.cp'), ('PP', '-2', 'parallel.pp'), ('PP', '2.0', 'parallel.pp'),
          ('AC', 'selective', 'activations.mode'), ('AC', 'Full', 'activations.mode'), ('AC', '', 'activations.mode'),
          ('PR', 'fp32', 'precision'), ('PR', '', 'precision'), ('PR', 'bf8', 'precision'), ('MODEL_SIZE', '13B', 'model'),
          ('MODEL_SIZE', '', 'model'), ('GLOBAL_BATCH_SIZE', '0', 'batch.global'), ('GLOBAL_BATCH_SIZE', '1e3', 'batch.global'),
          ('GLOBAL_BATCH_SIZE', '08', 'batch.global'), ('BATCH_SIZE', '0', 'batch.micro'), ('SEQ_LEN', '0', 'batch.sequence_length'),
          ('SEQ_LEN', '8k', 'batch.sequence_length'), ('TRAIN_TOKENS', '1e11', 'train.tokens'), ('TRAIN_TOKENS', '', 'train.tokens'),
          ('WARMUP_TOKENS', '1e8', 'train.warmup_tokens'), ('PRETRAIN_CHECKPOINT_PATH', 'none', 'load'),
          ('PRETRAIN_CHECKPOINT_PATH', '', 'load'), ('SP', 'yes', 'parallel.sequence'), ('DO', 'True', 'optimizer.distributed'),
          ('FL', 'on', 'flash_attention'), ('OPTIMIZER_OFFLOAD', 'dynamic', 'optimizer.offload'), ('LR', 'fast', 'optimizer.lr'),
          ('LR', '', 'optimizer.lr'), ('DATASET_PATH', '', 'data.train'), ('MP_AC_LAYERS', '0', 'activations.layers'),
          ('MP_DATASET_TYPE', 'RAW', 'data.type'), ('MP_SFT_PACKING', 'yes', 'data.packing'), ('WORLD_SIZE', None, 'WORLD_SIZE'),
          ('WORLD_SIZE', 'four', 'WORLD_SIZE'), ('MASTER_ADDR', None, 'MASTER_ADDR'), ('MASTER_PORT', None, 'MASTER_PORT'),
          ('TQ_GPU_NUM', None, 'TQ_GPU_NUM'), ('OUTPUT_DIR', None, 'OUTPUT_DIR'),
          ('KUBERNETES_CONTAINER_RESOURCE_GPU', None, 'KUBERNETES_CONTAINER_RESOURCE_GPU'), ('positional', None, 'train.iterations')]


def broken_cases():
    r = random.Random(7)
    for script in SCRIPTS:
        for setting, value, key in BROKEN:
            while True:
                case = gpt_case(r) if script == 'gpt-pretrain' else patch_case(r, script)
                p, e = case['params'], case['env']
                if setting == 'positional' and case.get('positional'):
                    case['positional'] = []
                elif setting in p and not (p.get('SFT') == 'true' and 'TOKENS' in setting):
                    p[setting] = value
                elif setting in ('MP_AC_LAYERS', 'MP_DATASET_TYPE', 'MP_SFT_PACKING') and script != 'gpt-pretrain':
                    e[setting] = value
                elif setting == 'OUTPUT_DIR' and (script == 'gpt-pretrain' or script.endswith('upstream')):
                    break
                elif setting in e and p.get('ENV') != 'dsw':
                    e.pop(setting) if value is None else e.update({setting: value})
                elif setting == 'OUTPUT_DIR':
                    e.pop(setting)
                elif any(setting in x for x in (p, e)) or setting == 'positional' and 'cluster' in script:
                    continue
                else:
                    break
                yield script, setting, value, key, case
                break


def main():
    count = missed = 0
    for script, setting, value, key, case in broken_cases():
        count += 1
        rc, got, err = render(sys.argv[1], case)
        said = err + str(got.get('errors', '')) + str(got.get('checks', ''))
        if rc not in (2, 3) or key not in said:
            missed += 1
            print(script, setting, repr(value), 'exit', rc, 'does not name', key, err[-200:])
    print('%d of %d broken settings are refused by name' % (count - missed, count))
    return 1 if missed or count < 200 else 0


if __name__ == '__main__':
    sys.exit(main())
