#!/usr/bin/env python3
"""The estimate beside every measured run: estimate_table.py MEGALAUNCH [--markdown]

Renders each line of tests/data/megatron/measured.csv in own mode and compares FLOPs and memory; --markdown prints the table
of docs/megatron-estimate.md. Fails when the FLOPs or the quality of the memory estimate are not what that page claims.
"""
import csv
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from own_jobs import render

LAYERS = {'llama3.1-8B': 32, 'llama3.1-70B': 80, 'qwen2.5-14B': 48, 'qwen2.5-72B': 80}
MODE = {'': 'none', 'false': 'none', 'none': 'none', 'sel': 'selective', 'full': 'full', 'offload': 'offload'}
# Lines that cannot be compared, with the reason.
DOUBTFUL = {('llama3.1-8B', 'bf16', '4', '2', '1'): 'ran on 16 GPUs', ('llama3.1-8B', 'fp8', '1', '4', '1', 'sel'): 'memory of a later stage',
            ('qwen2.5-14B', 'fp8', '2', '2', '1', 'full'): 'did not recompute'}


def virtual_layers(row):
    if row['pp'] == '1' or (row['model'] == 'llama3.1-8B' and not row['vpp']):
        return 'none'
    return int(row['vpp']) if row['vpp'] else LAYERS[row['model']] // int(row['pp']) // 4


def doubt(row):
    key = (row['model'], row['precision'], row['tp'], row['pp'], row['cp'])
    return DOUBTFUL.get(key) or DOUBTFUL.get(key + (row['ac'],)) or ''


def estimate(binary, row):
    gpus = 16 if doubt(row) == 'ran on 16 GPUs' else int(row['gpus'])
    job = {'version': 1, 'output': '/out', 'launch': {'nodes': gpus // 8, 'ranks_per_node': 8, 'endpoint': 'a:1'},
           'megatron': {'model': row['model'].lower(), 'precision': row['precision'],
                        'parallel': {'tp': int(row['tp']), 'pp': int(row['pp']), 'cp': int(row['cp']), 'virtual_stage_layers': virtual_layers(row)},
                        'batch': {'micro': int(row['mbs'] or 1), 'global': int(row['gbs']), 'sequence_length': int(row['seq'])},
                        'activations': {'mode': MODE[row['ac']]}, 'train': {'tokens': 100000000000, 'warmup_tokens': 1000000000},
                        'data': {'train': ['/data/a']}, 'load': '/model'}}
    return render(binary, job)[1]['estimate'], gpus


def main():
    binary, errors, flops_error, told = sys.argv[1], [], 0, []
    with open(os.path.join(HERE, '../../data/megatron/measured.csv')) as file:
        rows = list(csv.DictReader(file))
    lines = ['| model | precision | tp pp cp | micro | activations | v | outcome | measured MiB | estimated MiB | error | verdict | |', '|---' * 12 + '|']
    for row in rows:
        e, gpus = estimate(binary, row)
        measured, error = row['memory_mib'], ''
        if measured:
            off = 100 * (e['memory_mib'] / float(measured) - 1)
            error = '%+.1f %%' % off
            errors.append(abs(off))
        if row['outcome'] == 'ok':
            logged = float(row['tflops']) * 1e12 * float(row['elapsed_ms']) / 1000 * gpus
            flops_error = max(flops_error, abs(logged / e['flops_per_iteration'] - 1))
        if row['outcome'] == 'oom':
            told.append(e['verdict'] != 'fits')
        lines.append('| %s | %s | %s %s %s | %s | %s | %s | %s | %s | %.0f | %s | %s | %s |' % (
            row['model'], row['precision'], row['tp'], row['pp'], row['cp'], row['mbs'] or 1, MODE[row['ac']], virtual_layers(row), row['outcome'],
            measured, e['memory_mib'], error, e['verdict'], doubt(row)))
    if '--markdown' in sys.argv:
        print('\n'.join(lines) + '\n')
    within = sum(e <= 5 for e in errors)
    print('%d of %d measured memories within 5 %%, median error %.1f %%; FLOPs within %.2f %%; %d of %d runs out of memory not called "fits"' % (
        within, len(errors), statistics.median(errors), 100 * flops_error, sum(told), len(told)))
    return 0 if within >= 24 and statistics.median(errors) < 3 and flops_error < 0.002 and len(told) == 13 else 1


if __name__ == '__main__':
    sys.exit(main())
