#include "launcher/causes/tear_downs.h"

#include "launcher/causes/log_lines.h"
#include "launcher/causes/named_rank.h"

namespace megalaunch {
namespace {

/// Empty: it does not name itself.
std::string writer_of(const LogLine& line) {
  if (const std::string_view process = nccl_process(line.text); !process.empty())
    return std::string(process);
  const auto rank = line.label.rank ? line.label.rank : rank_named_in(line.text);
  return rank ? std::to_string(*rank) : std::string{};
}

/// An error that a call of CUDA returned; hardware that names its fault is none.
bool is_cuda_error(std::string_view text) {
  if (text.find("ncorrectable") != text.npos) return false;
  for (const std::string_view words : {"CUDA error", "CUDA driver error", "Cuda failure"})
    if (text.find(words) != text.npos) return true;
  return false;
}

}  // namespace

void TearDowns::broke(const LogLine& line) {
  broken_.insert(writer_of(line));
}

bool TearDowns::explain(const LogLine& line) const {
  if (!is_cuda_error(line.text)) return false;
  const std::string writer = writer_of(line);
  return broken_.contains(writer) || (writer.empty() && broken_.size() == 1);
}

}  // namespace megalaunch
