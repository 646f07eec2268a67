#!/usr/bin/env python3
"""The example jobs of configs/examples and what `init` writes pass `check`: example_jobs.py MEGALAUNCH"""
import glob
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../..')
ENV = {'PATH': '/usr/bin:/bin'}


def main():
    binary, bad = os.path.abspath(sys.argv[1]), 0
    with tempfile.TemporaryDirectory() as folder:
        jobs = sorted(glob.glob(ROOT + '/configs/examples/*-script.yaml') + glob.glob(ROOT + '/configs/examples/*-measured.yaml'))
        if len(jobs) != 8:
            print('expected 8 example jobs, found', jobs)
            return 1
        for model, gpus in (('llama3.1-8b', 32), ('llama3.1-70b', 64), ('qwen2.5-0.5b', 8), ('qwen2.5-14b', 32), ('qwen2.5-72b', 128)):
            path = '%s/%s.yaml' % (folder, model)
            made = subprocess.run([binary, 'init', '--model', model, '--gpus', str(gpus), '-o', path], env=ENV, cwd=folder)
            bad += made.returncode != 0
            jobs.append(path)
        for job in jobs:
            run = subprocess.run([binary, 'check', '--json', os.path.abspath(job)], capture_output=True, text=True, env=ENV, cwd=folder)
            checks = json.loads(run.stdout).get('checks') if run.stdout else None
            if run.returncode != 0 or checks != []:
                bad += 1
                print(os.path.basename(job), 'exit', run.returncode, checks, run.stderr[-300:])
    print('%d of %d jobs are clean' % (len(jobs) - bad, len(jobs)))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
