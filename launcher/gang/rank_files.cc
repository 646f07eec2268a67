#include "launcher/gang/rank_files.h"

#include <fstream>

namespace megalaunch {

RankFiles rank_files(const std::filesystem::path& run_dir, int generation, int node_rank,
                     int local_rank) {
  return {run_dir / fmt::format("attempt_{}", generation) / std::to_string(node_rank) /
          std::to_string(local_rank)};
}

std::string read_tail(const std::filesystem::path& path, size_t limit) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<size_t>(std::max<std::streamoff>(file.tellg(), 0));
  const size_t wanted = std::min(size, limit);
  file.seekg(static_cast<std::streamoff>(size - wanted));
  std::string text(wanted, '\0');
  file.read(text.data(), static_cast<std::streamsize>(wanted));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

void add_files(Evidence& evidence, const RankFiles& files, size_t tail_limit) {
  if (files.folder.empty()) return;
  evidence.stderr_tail = read_tail(files.stderr_log(), tail_limit);
  evidence.stdout_tail = read_tail(files.stdout_log(), tail_limit);
  const std::string text = read_tail(files.error_file(), ErrorFile::kMaxSize);
  if (text.empty()) return;
  // A file that torch was still writing when it was killed is no evidence.
  auto error = parse_error_file(text);
  if (!error) return;
  evidence.error_file = std::move(*error);
  for (std::string* field : {&evidence.error_file->message, &evidence.error_file->py_callstack})
    if (field->size() > tail_limit) *field = bounded_tail(*field, tail_limit);
  evidence.error_file->path = files.error_file().string();
}

}  // namespace megalaunch
