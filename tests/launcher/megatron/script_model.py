"""The launch scripts' computation again, in Python and from their description (docs/megatron-scripts.md), as a second
opinion on launcher/megatron: settings in, command line out. Nothing here is shared with the C++.

    expected(case) -> {entry, program_args, env, cwd, directories, nodes, ranks_per_node, endpoint, rejects, silent}
"""
import datetime
import re

LLAMA = {'8B': (32, 4096, 32, 14336, 8, 131072), '70B': (80, 8192, 64, 28672, 8, 131072)}
QWEN = {'0.5B': (24, 896, 14, 4864, 2, 32768, 293, '1e-6'), '1.5B': (28, 1536, 12, 8960, 2, 32768, 293, '1e-6'),
        '3B': (36, 2048, 16, 11008, 2, 32768, 293, '1e-6'), '7B': (28, 3584, 28, 18944, 4, 131072, 421, '1e-6'),
        '14B': (48, 5120, 40, 13824, 8, 131072, 421, '1e-5'), '32B': (64, 5120, 40, 27648, 8, 131072, 421, '1e-5'),
        '72B': (80, 8192, 64, 29568, 8, 131072, 421, '1e-5')}
UNTIED_QWEN = ('7B', '14B', '32B', '72B')
HONOURS_MP_VP = ('qwen2_5-upstream', 'llama3_1-cluster-vpenv')


def shell(text):
    """A constant as bash arithmetic reads it."""
    return int(text, 8) if re.fullmatch('0[0-7]+', text) else int(text)


def div(a, b):
    """Bash division: truncates toward zero."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def wrap64(n):
    return (n + 2**63) % 2**64 - 2**63


def gpt(case):
    p, e = case['params'], case['env']
    lines = [text for path, text in case['files'].items() if 'datalist_' in path][0].splitlines()
    lines = [line.split() for line in lines if not line.startswith('#') and line.split()]
    data = [word for line in lines for word in line]
    tokens = sum(int(line[0]) for line in lines)
    samples = div(div(wrap64(tokens * 940), 1000), int(p['SEQ_LENGTH']))
    steps = int(e.get('SEEN_STEPS') or 0) + div(samples, int(p['GLOBAL_BATCH_SIZE']))
    out = e.get('OUTPUT_DIR') or 'output'
    tokenizer = '/data/nfs66/datasets/Megatron-LM-main/tokenizers/qwen2'
    args = f'''--tensor-model-parallel-size {p['TP']} --pipeline-model-parallel-size {p['PP']} --context-parallel-size {p['CP']}
      --num-layers {p['NUM_LAYERS']} --hidden-size {p['HIDDEN_SIZE']} --ffn-hidden-size {p['FFN_HIDDEN_SIZE']}
      --num-attention-heads {p['NUM_HEADS']} --micro-batch-size {p['MICRO_BATCH_SIZE']} --global-batch-size {p['GLOBAL_BATCH_SIZE']}
      --seq-length {p['SEQ_LENGTH']} --max-position-embeddings {p['SEQ_LENGTH']} --train-iters {steps}
      --save {out}/checkpoints --load {out}/checkpoints --data-path {' '.join(data)}
      --tokenizer-type HuggingFaceTokenizer --tokenizer-model {tokenizer} --vocab-file {tokenizer}
      --split 99,1,0 --distributed-backend nccl --lr {p['LR']} --lr-decay-style cosine --lr-decay-iters {steps}
      --min-lr {p['MIN_LR']} --weight-decay 0.1 --clip-grad 1 --lr-warmup-iters {p['LR_WARMUP_STEPS']} --optimizer adam
      --adam-beta1 0.9 --adam-beta2 0.95 --save-interval {div(steps, 10)} --log-interval 1 --log-throughput
      --log-timers-to-tensorboard --log-validation-ppl-to-tensorboard --timing-log-level 1 --eval-interval {div(steps, 30)}
      --eval-iters 1 --bf16 --attention-dropout 0 --hidden-dropout 0 --use-rotary-position-embeddings
      --untie-embeddings-and-output-weights --no-position-embedding --swiglu --normalization RMSNorm --disable-bias-linear
      --tensorboard-dir {out}/tf_logs --tensorboard-log-interval 1 --use-flash-attn --timing-log-level 1 --use-mcore-models
      --no-masked-softmax-fusion --attention-softmax-in-fp32 --distributed-timeout-minutes 60 --num-dataset-builder-threads 1
      --num-workers 2 --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --flash-save --flash-load
      --data-cache-path {out}/data_cache_{e.get('DATAINDEX', '')}'''.split()
    cwd = '/data/project/Megatron-LM'
    made = [out + '/checkpoints' if out.startswith('/') else cwd + '/' + out + '/checkpoints']
    return dict(entry='pretrain_gpt.py', program_args=args, cwd=cwd, directories=made, env={'CUDA_DEVICE_MAX_CONNECTIONS': '1'})


def patch(case):
    """The seven scripts of the Llama and Qwen examples."""
    p, e, script = case['params'], case['env'], case['script']
    llama, upstream = script.startswith('llama'), script.endswith('upstream')
    size = (LLAMA if llama else QWEN)[p['MODEL_SIZE']]
    layers, hidden, heads, ffn, groups, positions = size[:6]
    untied = llama or p['MODEL_SIZE'] in UNTIED_QWEN
    do = p['DO']
    if p['OPTIMIZER_OFFLOAD'] != 'false' and do == 'false':
        do = 'true'
    finetune = p['SFT'] == 'true'
    if finetune:
        values = (p['TRAIN_TOKENS'], p['WARMUP_TOKENS']) if upstream else case['positional'][22:24]
        train, warmup, decay = values[0], values[1], str(shell(values[0]) - shell(values[1]))
    else:
        per = lambda tokens: str(div(div(shell(tokens), shell(p['GLOBAL_BATCH_SIZE'])), shell(p['SEQ_LEN'])))
        train, warmup = per(p['TRAIN_TOKENS']), per(p['WARMUP_TOKENS'])
        decay = train
    name = (f"{'finetune' if finetune else 'pretrain'}-mcore-{'llama3-1' if llama else 'qwen2.5'}-{p['MODEL_SIZE']}"
            f"-lr-{p['LR']}-minlr-{p['MIN_LR']}-bs-{p['BATCH_SIZE']}-gbs-{p['GLOBAL_BATCH_SIZE']}-seqlen-{p['SEQ_LEN']}"
            f"-pr-{p['PR']}-tp-{p['TP']}-pp-{p['PP']}-cp-{p['CP']}-ac-{p['AC']}-do-{do}-sp-{p['SP']}-ti-{train}-wi-{warmup}")
    out = p['OUTPUT_BASEPATH'] if upstream else e['OUTPUT_DIR']
    time = datetime.datetime.strptime(case['time'], '%Y-%m-%dT%H:%M:%S')
    board = out + '/tf_logs' if script == 'llama3_1-upstream' else f'{out}/tensorboard/{name}_{time:%Y.%m.%d-%H.%M.%S}'
    checkpoint = f'{out}/checkpoint/{name}'
    tp, pp = int(p['TP']), shell(p['PP'])
    if script in HONOURS_MP_VP:
        stages = e.get('MP_VP') or None
    else:
        stages = str(div(div(layers, pp), 4))

    a = ['--save', checkpoint, '--lr', p['LR'], '--min-lr', p['MIN_LR']]
    a += '''--lr-decay-style cosine --weight-decay 0.1 --adam-beta1 0.9 --adam-beta2 0.95 --clip-grad 1.0 --init-method-std 0.008
            --attention-dropout 0.0 --hidden-dropout 0.0'''.split()
    a += ['--lr-decay-iters', decay, '--lr-warmup-iters', warmup, '--train-iters', train]
    a += ['--micro-batch-size', p['BATCH_SIZE'], '--global-batch-size', p['GLOBAL_BATCH_SIZE'], '--num-layers', layers,
          '--hidden-size', hidden, '--num-attention-heads', heads, '--ffn-hidden-size', ffn, '--seq-length', p['SEQ_LEN'],
          '--max-position-embeddings', positions, '--max-padding-length', p['PAD_LEN'], '--log-interval', 1, '--log-throughput',
          '--eval-interval', 10000, '--eval-iters', 10, '--save-interval', p['SAVE_INTERVAL'], '--tensorboard-queue-size', 1,
          '--tensorboard-dir', board, '--log-timers-to-tensorboard', '--log-batch-size-to-tensorboard',
          '--log-validation-ppl-to-tensorboard', '--tensor-model-parallel-size', p['TP'], '--pipeline-model-parallel-size', p['PP'],
          '--context-parallel-size', p['CP'], '--no-load-optim', '--no-load-rng', '--num-workers', 8, '--extra-vocab-size',
          256 if llama else size[6], '--patch-tokenizer-type', 'LLama3Tokenizer' if llama else 'Qwen2Tokenizer', '--swiglu',
          '--normalization', 'RMSNorm', '--norm-epsilon', '1e-05' if llama else size[7], '--use-rotary-position-embeddings',
          '--position-embedding-type', 'rope']
    a += ('--untie-embeddings-and-output-weights --disable-bias-linear --rotary-base 500000 --no-save-optim' if llama else
          '--disable-bias-linear --add-qkv-bias --rotary-percent 1.0 --rotary-base 1000000 '
          '--rotary-seq-len-interpolation-factor 1 --no-save-optim').split()
    if e.get('MP_DATASET_TYPE') == 'raw':
        a += ['--train-data-path', *p['DATASET_PATH'].split(), '--valid-data-path', *p['VALID_DATASET_PATH'].split(),
              '--dataloader-type', 'cyclic', '--dataset', 'LLama-SFT-Raw']
    else:
        a += ['--data-path', *p['DATASET_PATH'].split(), '--split', '99,1,0', '--dataset', 'LLama-Pretrain-Idxmap']
    a += {'fp16': '--fp16 --apply-query-key-layer-scaling', 'bf16': '--bf16',
          'fp8': '--bf16 --fp8-format hybrid --fp8-amax-compute-algo max --fp8-amax-history-len 1024'}[p['PR']].split()
    a += ['--load', p['PRETRAIN_CHECKPOINT_PATH'], '--transformer-impl', 'transformer_engine']
    k = e.get('MP_AC_LAYERS') or '1'
    refused = None
    if p['AC'] == 'full':
        if div(layers, pp) % shell(k) != 0:
            refused = 'activations.layers'
        a += ['--recompute-method', 'uniform', '--recompute-num-layers', k, '--recompute-granularity', 'full']
    elif p['AC'] == 'sel':
        a += ['--recompute-activations']
    elif p['AC'] == 'offload':
        a += ['--cpu-offloading', '--cpu-offloading-num-layers', k]
    if do == 'true':
        a += ['--use-distributed-optimizer']
    if p['SP'] == 'true' and tp > 1:
        a += ['--sequence-parallel']
    a += ['--group-query-attention', '--num-query-groups', groups]
    if p['OPTIMIZER_OFFLOAD'] == 'static':
        a += '--optimizer hybridadam --optimizer-offload-policy static --optimizer-offload-fraction 1.0'.split()
    if p['OPTIMIZER_OFFLOAD'] == 'auto':
        a += '--optimizer hybridadam --optimizer-offload-policy auto'.split()
    if tp > 1:
        a += ['--tp-comm-overlap']
    if p['AC'] != 'offload':
        a += ['--overlap-grad-reduce', '--overlap-param-gather']
    a += ['--eod-mask-loss', '--train-mode', 'finetune'] if finetune else ['--train-mode', 'pretrain']
    if not llama and untied:
        a += ['--untie-embeddings-and-output-weights']
    if stages is not None:
        a += ['--num-layers-per-virtual-pipeline-stage', stages]
    if e.get('MP_SFT_PACKING') == 'true':
        a += ['--reset-position-ids', '--no-create-attention-mask-in-dataloader']

    root = '/data/project/Pai-Megatron-Patch'
    env = {'PYTHONPATH': f"{root}:{root}/PAI-Megatron-LM-240718:{e.get('PYTHONPATH', '')}", 'CUDA_DEVICE_MAX_CONNECTIONS': '1',
           'PYTORCH_CUDA_ALLOC_CONF': 'expandable_segments:True', 'NVTE_FLASH_ATTN': '1' if p['FL'] == 'true' else '0',
           'NVTE_FUSED_ATTN': '0' if p['FL'] == 'true' else '1'}
    if p['PR'] == 'fp16':
        env['NVTE_APPLY_QK_LAYER_SCALING'] = '1'
    return dict(entry='pretrain_llama.py' if llama else '../qwen2/pretrain_qwen.py', program_args=[str(x) for x in a], env=env,
                cwd=f"{root}/examples/{'llama3_1' if llama else 'qwen2_5'}", refused=refused,
                directories=[f'{out}/tensorboard', f'{out}/checkpoint', f'{out}/log', board, checkpoint],
                model=(layers, hidden, heads, ffn, groups, positions, 128256 if llama else 152064 if untied else 151936))


def rejects(args, world, llama, model, loads=True):
    """The start-up checks of the training program on a command line: (failures, silent changes), as codes."""
    def value(name, kind=int):
        return kind(args[args.index(name) + 1]) if name in args else None
    layers, _, heads, ffn, groups, positions, vocabulary = model
    bad, silent = [], []
    tp, pp, cp = value('--tensor-model-parallel-size'), value('--pipeline-model-parallel-size'), value('--context-parallel-size')
    if tp > world or pp > world // min(tp, world):
        silent.append('parallel-size-clamped')
    tp = min(tp, world)
    pp = min(pp, world // tp)
    if world % tp:
        bad.append('world-not-divisible-by-tp')
    dp = 0
    if world % (tp * pp * cp):
        bad.append('world-not-divisible-by-tp-pp-cp')
    else:
        dp = world // (tp * pp * cp)
    sequence_parallel = '--sequence-parallel' in args
    if '--tp-comm-overlap' in args and not sequence_parallel:
        bad.append('tp-comm-overlap-needs-sequence-parallel')
    v = value('--num-layers-per-virtual-pipeline-stage')
    micro, batch, length = value('--micro-batch-size'), value('--global-batch-size'), value('--seq-length')
    if v is not None:
        if pp <= 1:
            bad.append('interleaving-needs-pp')
        if layers % pp:
            bad.append('layers-not-divisible-by-pp')
        elif v == 0 or (layers // pp) % v:
            bad.append('stage-layers-not-divisible-by-vp')
        if dp and batch % (micro * dp) == 0 and batch // (micro * dp) % pp:
            bad.append('microbatches-not-divisible-by-pp')
    elif layers % pp:
        silent.append('layers-dropped-by-pp')
    if '--overlap-param-gather' in args and '--use-distributed-optimizer' not in args:
        bad.append('param-gather-overlap-needs-distributed-optimizer')
    if cp > 1 and length % (2 * cp):
        bad.append('seq-not-multiple-of-2cp')
    if length > positions:
        bad.append('seq-over-max-positions')
    if value('--min-lr', float) > value('--lr', float):
        bad.append('min-lr-over-lr')
    if dp and (batch % (micro * dp) or batch // (micro * dp) < 1):
        bad.append('gbs-not-divisible-by-mbs-dp')
    if heads % tp:
        bad.append('heads-not-divisible-by-tp')
    if groups % tp:
        bad.append('query-groups-not-divisible-by-tp')
    if '--cpu-offloading' in args:
        if value('--cpu-offloading-num-layers') >= layers:
            bad.append('offload-layers-out-of-range')
        if pp > 1:
            bad.append('cpu-offload-with-pp')
    if sequence_parallel and tp > 1 and (length // cp) % tp:
        bad.append('seq-not-divisible-by-tp')
    if vocabulary % tp or ffn % tp:
        bad.append('dims-not-divisible-by-tp')
    warmup, decay = value('--lr-warmup-iters'), value('--lr-decay-iters')
    if not (decay > 0 and warmup < decay):
        bad.append('warmup-not-below-decay')
    if '--load' not in args:
        bad.append('tokenizer-needs-load')
    if 'LLama-SFT-Raw' in args and value('--train-mode', str) == 'pretrain':
        bad.append('raw-dataset-with-pretrain')
    if '--reset-position-ids' in args and cp > 1:
        bad.append('packing-with-cp')
    if llama and '--fp8-format' in args and '--recompute-granularity' in args:
        bad.append('fp8-full-recompute-unsupported')
    return bad, silent


def expected(case):
    e, p = case['env'], case['params']
    result = gpt(case) if case['script'] == 'gpt-pretrain' else patch(case)
    if p.get('ENV') == 'dsw':
        result.update(nodes=1, ranks_per_node=8, endpoint=f"localhost:{case['dsw_port']}")
        result['env']['CUDA_VISIBLE_DEVICES'] = '0,1,2,3,4,5,6,7'
    else:
        gpus = 'KUBERNETES_CONTAINER_RESOURCE_GPU' if case['script'].endswith('upstream') else 'TQ_GPU_NUM'
        result.update(nodes=int(e['WORLD_SIZE']), ranks_per_node=int(e[gpus]), endpoint=f"{e['MASTER_ADDR']}:{e['MASTER_PORT']}")
    result['rejects'], result['silent'] = [], []
    if 'model' in result:
        world = result['nodes'] * result['ranks_per_node']
        result['rejects'], result['silent'] = rejects(result['program_args'], world, 'llama' in case['script'], result['model'])
    return result
