#include "launcher/job/preparation.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "env/unique_fd.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = 1 << 18;

/// A file that is written beside its final name and vanishes unless commit() gives it that name.
class FileAside {
 public:
  static Result<FileAside> open(const fs::path& target) {
    FileAside file(target, target.parent_path() /
                               fmt::format(".{}.{}.part", target.filename().string(), ::getpid()));
    file.fd_ =
        UniqueFd(::open(file.aside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file.fd_) return errno_error(errno, fmt::format("cannot write {}", file.aside_.string()));
    return file;
  }
  FileAside(FileAside&&) = default;
  ~FileAside() {
    if (fd_) ::unlink(aside_.c_str());
  }

  Status write(const char* data, size_t size) {
    while (size > 0) {
      const ssize_t written = ::write(fd_.get(), data, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno_error(errno, fmt::format("cannot write {}", target_.string()));
      data += written;
      size -= static_cast<size_t>(written);
    }
    return {};
  }

  Status commit() {
    // Some file systems report a full disk no sooner than here.
    if (::fsync(fd_.get()) != 0)
      return errno_error(errno, fmt::format("cannot write {}", target_.string()));
    if (::rename(aside_.c_str(), target_.c_str()) != 0)
      return errno_error(errno,
                         fmt::format("cannot rename {} to {}", aside_.string(), target_.string()));
    fd_.reset();
    return {};
  }

 private:
  FileAside(fs::path target, fs::path aside)
      : target_(std::move(target)), aside_(std::move(aside)) {}

  fs::path target_;
  fs::path aside_;
  UniqueFd fd_;
};

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
    if (*count == 0) return target->commit();
    if (auto status = target->write(block.data(), *count); !status) return status;
  }
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

Status write_file(const std::filesystem::path& path, std::string_view text) {
  auto file = FileAside::open(path);
  if (!file) return fail(std::move(file).error());
  if (auto status = file->write(text.data(), text.size()); !status) return status;
  return file->commit();
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
