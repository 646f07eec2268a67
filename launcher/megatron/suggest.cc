#include "launcher/megatron/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <vector>

#include "launcher/megatron/command.h"
#include "launcher/megatron/nearest.h"
#include "launcher/megatron/preset.h"

namespace megalaunch {
namespace {

struct Shape {
  std::int64_t tp, pp, cp, global;
};

constexpr const char* kTemplate =
    R"(# {model} on {gpus} GPUs, written by `megalaunch init`. Every key is described in docs/megatron.md.
#
#   megalaunch check JOB.yaml      what is wrong with it, and what it will cost
#   megalaunch render JOB.yaml     the exact command
#   megalaunch run JOB.yaml        on every node
#
# Estimate: {memory:.0f} MiB on the fullest GPU, pipeline bubble {bubble:.1f} %.
version: 1
name: {name}
# workdir: /mnt/project              # where relative paths start; without it: where megalaunch is started
output: ${{OUTPUT_DIR:-output}}        # checkpoints, TensorBoard and logs go below
launch: {{nodes: {nodes}, ranks_per_node: {per_node}}}   # `auto` takes what the platform says

megatron:
  model: {model}
  root: Pai-Megatron-Patch           # below workdir
  precision: {precision}                    # fp16 | bf16 | fp8
  parallel:
    tp: {tp}                            # each layer over this many GPUs; keep it within a node
    pp: {pp}                            # the layers over this many stages
    cp: {cp}                            # each sequence over this many GPUs
    sequence: true                   # sequence parallel where tp > 1: less memory, no cost
    virtual_stage_layers: auto       # auto | none | layers of one virtual stage: a smaller pipeline bubble
  batch:
    micro: 1
    global: {global}                     # a multiple of micro x data-parallel copies{times_pp}
    sequence_length: {length}
  optimizer: {{lr: 1e-5, min_lr: 1e-6, distributed: true, offload: none}}
  activations: {{mode: none}}          # none | selective | full (recompute, saves memory) | offload
  train: {{mode: pretrain, tokens: 100000000000, warmup_tokens: 1000000000}}
  data:
    train: [data/train_document]     # a prefix, or weights and prefixes: [0.3, data/a, 0.7, data/b]
  load: model/{name}                 # the initial model; its folder holds the tokenizer too
  save_interval: 1000
  resume: auto                       # go on from the newest checkpoint of this run, if there is one

# prepare:                           # before the ranks start; never repeated once done
#   - {{run: [mc, cp, --recursive, store/data, data], on: first, timeout: 2h}}
restart: {{max: 3, backoff: 5s}}       # for causes that a restart cures
)";

std::string job_text(const SuggestionWish& wish, const ModelPreset& model, const Shape& shape,
                     const Estimate& estimate) {
  const int per_node = std::min(wish.gpus, wish.gpus_per_node);
  return fmt::format(
      fmt::runtime(kTemplate), fmt::arg("model", wish.model), fmt::arg("gpus", wish.gpus),
      fmt::arg("memory", estimate.memory_mib), fmt::arg("bubble", 100 * estimate.bubble),
      fmt::arg("name", model.name), fmt::arg("nodes", wish.gpus / per_node),
      fmt::arg("per_node", per_node), fmt::arg("precision", wish.precision),
      fmt::arg("tp", shape.tp), fmt::arg("pp", shape.pp), fmt::arg("cp", shape.cp),
      fmt::arg("global", shape.global), fmt::arg("times_pp", shape.pp > 1 ? " x pp" : ""),
      fmt::arg("length", std::min<std::int64_t>(8192, model.max_positions)));
}

/// The checks of a job file, as `check` makes them.
Result<MegatronCommand> command_of(const std::string& text) {
  const auto loaded = parse_job(text, "JOB.yaml", Variables(), {}, "/");
  if (!loaded.job) return fail(Error::Kind::kUsage, "{}", loaded.errors.front().to_string());
  HostFacts host;
  host.only_looks = true;
  const auto planned = plan_launch(*loaded.job, Variables(), host);
  if (!planned.plan) return fail(Error::Kind::kUsage, "{}", planned.errors.front().to_string());
  auto megatron = plan_megatron(*loaded.job, *planned.plan, Variables(), WallTime());
  if (!megatron.command)
    return fail(Error::Kind::kUsage, "{}", megatron.errors.front().to_string());
  return std::move(*megatron.command);
}

/// All splits of the model that divide the GPUs, the least splitting first.
std::vector<Shape> candidates(const SuggestionWish& wish, const ModelPreset& model) {
  std::vector<Shape> shapes;
  const int per_node = std::min(wish.gpus, wish.gpus_per_node);
  for (const std::int64_t tp : divisors(per_node))
    for (const std::int64_t pp : divisors(model.layers))
      for (const std::int64_t cp : {1, 2, 4, 8}) {
        if (wish.gpus % (tp * pp * cp) != 0) continue;
        const std::int64_t step = wish.gpus / (tp * pp * cp) * pp;
        shapes.push_back({tp, pp, cp, step * std::max<std::int64_t>(1024 / step, 1)});
      }
  std::stable_sort(shapes.begin(), shapes.end(), [](const Shape& a, const Shape& b) {
    return std::tuple(a.tp * a.pp * a.cp, a.cp, a.tp) < std::tuple(b.tp * b.pp * b.cp, b.cp, b.tp);
  });
  return shapes;
}

}  // namespace

Result<Suggestion> suggest_job(const SuggestionWish& wish) {
  const auto model = find_preset(wish.model, std::filesystem::current_path());
  if (!model) return fail(model.error());
  if (model->family == ModelFamily::kGpt)
    return fail(
        Error::Kind::kUsage,
        "model 'gpt' has no sizes of its own; write its job file by hand, from configs/examples");
  const int per_node = std::min(wish.gpus, wish.gpus_per_node);
  if (wish.gpus % per_node != 0)
    return fail(Error::Kind::kUsage, "{} GPUs are not whole nodes of {} (--gpus-per-node)",
                wish.gpus, per_node);

  std::optional<Suggestion> best;
  for (const Shape& shape : candidates(wish, *model)) {
    auto command = command_of(job_text(wish, *model, shape, {}));
    if (!command) return fail(command.error());
    if (has_errors(command->checks)) continue;
    const Estimate estimate = estimate_training(command->training);
    const bool fits = verdict_for(estimate, wish.card_mib) == MemoryVerdict::kFits;
    if (!best || fits || estimate.memory_mib < best->estimate.memory_mib)
      best = Suggestion{job_text(wish, *model, shape, estimate), estimate, fits};
    if (fits) return std::move(*best);
  }
  if (!best)
    return fail(Error::Kind::kUsage, "no way to split {} over {} GPUs passes the checks",
                wish.model, wish.gpus);
  return std::move(*best);
}

}  // namespace megalaunch
