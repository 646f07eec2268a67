#include "launcher/results/printed_arguments.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

constexpr const char* kRunName =
    "pretrain-mcore-llama3-1-8B-lr-1e-5-minlr-1e-6-bs-1-gbs-1024-seqlen-8192-pr-fp8-tp-1-pp-2-cp-1-"
    "ac-sel-do-true-sp-true-"
    "ti-11920-wi-11";

std::string entry(const std::string& name, const std::string& value) {
  return "  " + name + " " + std::string(name.size() < 48 ? 48 - name.size() : 0, '.') + " " +
         value;
}

TEST(RunName, HoldsTheSettingsThatTheScriptsPutIn) {
  const RunRecord record =
      record_from_run_name("/out/tensorboard/" + std::string(kRunName) + "_2024.11.07-16.27.21");
  EXPECT_EQ(record.name, kRunName);
  EXPECT_EQ(record.model, "llama3.1-8B");
  EXPECT_EQ(record.precision, "fp8");
  EXPECT_EQ(record.mbs, 1);
  EXPECT_EQ(record.gbs, 1024);
  EXPECT_EQ(record.seq, 8192);
  EXPECT_EQ(record.tp, 1);
  EXPECT_EQ(record.pp, 2);
  EXPECT_EQ(record.cp, 1);
  EXPECT_EQ(record.activations, "selective");
  EXPECT_EQ(record.gpus, std::nullopt);
}

TEST(RunName, OfAFineTuningOfQwenIsReadToo) {
  const RunRecord record = record_from_run_name(
      "finetune-mcore-qwen2.5-72B-lr-1e-5-minlr-1e-6-bs-2-gbs-64-seqlen-4096-pr-bf16-tp-4-pp-8-cp-"
      "2-ac-false-do-true-sp-true"
      "-ti-500-wi-10");
  EXPECT_EQ(record.model, "qwen2.5-72B");
  EXPECT_EQ(record.mbs, 2);
  EXPECT_EQ(record.activations, "none");
}

TEST(RunName, IsNotInOtherText) {
  EXPECT_EQ(record_from_run_name("/out/pretrain-mcore-/x"), RunRecord{});
  EXPECT_EQ(record_from_run_name("pretrain_llama.py"), RunRecord{});
  EXPECT_EQ(record_from_run_name(""), RunRecord{});
}

TEST(PrintedArguments, TheListOfTheProgramHoldsEverySetting) {
  PrintedArguments arguments;
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"bf16", "True"},
           {"context_parallel_size", "1"},
           {"ffn_hidden_size", "14336"},
           {"fp16", "False"},
           {"fp8", "hybrid"},
           {"global_batch_size", "1024"},
           {"group_query_attention", "True"},
           {"hidden_size", "4096"},
           {"micro_batch_size", "1"},
           {"num_attention_heads", "32"},
           {"num_layers", "32"},
           {"num_layers_per_virtual_pipeline_stage", "4"},
           {"num_query_groups", "8"},
           {"padded_vocab_size", "128256"},
           {"pipeline_model_parallel_size", "2"},
           {"recompute_granularity", "None"},
           {"seq_length", "8192"},
           {"swiglu", "True"},
           {"tensor_model_parallel_size", "1"},
           {"world_size", "32"}})
    EXPECT_TRUE(arguments.feed("[default0]:" + entry(name, value))) << name;
  const RunRecord record = arguments.record();
  EXPECT_EQ(record.model, "llama3.1-8B");
  EXPECT_EQ(record.size, find_known_model("llama3.1-8B")->size);
  EXPECT_EQ(record.precision, "fp8");
  EXPECT_EQ(record.gpus, 32);
  EXPECT_EQ(record.pp, 2);
  EXPECT_EQ(record.virtual_stage_layers, 4);
  EXPECT_EQ(record.activations, "none");
}

TEST(PrintedArguments, ACommandLineServesWhereThereIsNoList) {
  PrintedArguments arguments;
  EXPECT_TRUE(arguments.feed(
      "torchrun --nproc_per_node 8 pretrain_llama.py --save /out/checkpoint/" +
      std::string(kRunName) +
      " --micro-batch-size 1 --global-batch-size 1024 --seq-length 8192 --bf16 --fp8-format hybrid "
      "--tensor-model-parallel-size 2 --pipeline-model-parallel-size 4 --recompute-activations"));
  const RunRecord record = arguments.record();
  EXPECT_EQ(record.name, kRunName);
  EXPECT_EQ(record.model, "llama3.1-8B");
  EXPECT_EQ(record.tp, 2);
  EXPECT_EQ(record.pp, 4);
  EXPECT_EQ(record.precision, "fp8");
  EXPECT_EQ(record.activations, "selective");
}

TEST(PrintedArguments, TheListWinsOverTheCommandLine) {
  PrintedArguments arguments;
  arguments.feed(
      "x.py --micro-batch-size 1 --tensor-model-parallel-size 16 --context-parallel-size 2");
  arguments.feed(entry("tensor_model_parallel_size", "8"));  // the program lowered it
  EXPECT_EQ(arguments.record().tp, 8);
  EXPECT_EQ(arguments.record().cp, 2);
}

TEST(PrintedArguments, OtherLinesSayNothing) {
  PrintedArguments arguments;
  for (const char* line : {"", " ..", "loading ... done", "  lr .......................... 1e-05",
                           "a --b c", "building GPT model ...", "tensor_model_parallel_size ....."})
    EXPECT_FALSE(arguments.feed(line)) << line;
  EXPECT_EQ(arguments.record(), RunRecord{});
}

}  // namespace
}  // namespace megalaunch
