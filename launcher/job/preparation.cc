#include "launcher/job/preparation.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "env/file_aside.h"
#include "env/unique_fd.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 18;

Result<size_t> read_block(const UniqueFd& fd, std::vector<char>& block, const fs::path& path) {
  for (;;) {
    const ssize_t count = ::read(fd.get(), block.data(), block.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return errno_error(errno, fmt::format("cannot read {}", path.string()));
  }
}

bool same_bytes(const fs::path& a, const fs::path& b) {
  const UniqueFd first(::open(a.c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd second(::open(b.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat one {
  }, two{};
  if (!first || !second || ::fstat(first.get(), &one) != 0 || ::fstat(second.get(), &two) != 0 ||
      one.st_size != two.st_size)
    return false;
  std::vector<char> left(kBlock), right(kBlock);
  for (;;) {
    const auto n = read_block(first, left, a);
    const auto m = read_block(second, right, b);
    if (!n || !m || *n != *m ||
        !std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(*n), right.begin()))
      return false;
    if (*n == 0) return true;
  }
}

Status copy_aside(const fs::path& from, const fs::path& to) {
  const UniqueFd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source) return errno_error(errno, fmt::format("cannot read {}", from.string()));
  auto target = FileAside::open(to);
  if (!target) return fail(std::move(target).error());
  std::vector<char> block(kBlock);
  for (;;) {
    const auto count = read_block(source, block, from);
    if (!count) return fail(count.error());
    if (*count == 0) break;
    if (auto status = target->write({block.data(), *count}); !status) return status;
  }
  if (auto status = target->sync(); !status) return status;
  return target->commit();
}

/// The regular files of a folder that match, by name.
Result<std::vector<fs::path>> matching_files(const CopyRule& rule) {
  std::error_code error;
  fs::directory_iterator entries(rule.from, error);
  if (error)
    return fail(Error::Kind::kSystem, "cannot read the folder {}: {}", rule.from, error.message());
  std::vector<fs::path> found;
  for (const fs::directory_iterator end; entries != end; entries.increment(error)) {
    if (error)
      return fail(Error::Kind::kSystem, "cannot read the folder {}: {}", rule.from,
                  error.message());
    if (matches_pattern(entries->path().filename().string(), rule.pattern) &&
        entries->is_regular_file(error))
      found.push_back(entries->path());
  }
  std::sort(found.begin(), found.end());
  if (found.empty() && rule.required)
    return fail(Error::Kind::kSystem, "{} holds no {}; is it the folder of a tokenizer?", rule.from,
                rule.pattern);
  return found;
}

}  // namespace

std::string prepare_marker_name(const PrepareStep& step) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a, the same on all nodes
  for (const std::string& word : step.run)
    for (size_t i = 0; i <= word.size(); ++i)
      hash = (hash ^ static_cast<unsigned char>(i < word.size() ? word[i] : '\0')) * 1099511628211u;
  return fmt::format("{:016x}.done", hash);
}

bool matches_pattern(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (name.substr(0, star) != pattern.substr(0, star)) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= name.size(); ++at)
    if (matches_pattern(name.substr(at), rest)) return true;
  return false;
}

Status make_directories(const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    std::error_code error;
    fs::create_directories(directory, error);
    // A trailing slash makes create_directories report success as failure in some versions: what
    // counts is the result.
    if (!fs::is_directory(directory))
      return fail(Error::Kind::kSystem, "cannot make the directory {}: {}", directory,
                  error ? error.message() : "a file of that name is in the way");
  }
  return {};
}

Result<int> copy_files(const std::vector<CopyRule>& rules) {
  int written = 0;
  for (const CopyRule& rule : rules) {
    auto files = matching_files(rule);
    if (!files) return fail(std::move(files).error());
    for (const fs::path& file : *files) {
      const fs::path target = fs::path(rule.to) / file.filename();
      if (same_bytes(file, target)) continue;
      if (auto status = copy_aside(file, target); !status) return fail(std::move(status).error());
      ++written;
    }
  }
  return written;
}

}  // namespace megalaunch
