#include "env/file_aside.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <utility>

namespace megalaunch {

Result<FileAside> FileAside::open(const std::filesystem::path& target) {
  for (;;) {
    const auto now = std::chrono::system_clock::now().time_since_epoch().count();
    std::filesystem::path aside = target;
    aside.replace_filename(
        fmt::format(".{}.{}.{}.part", target.filename().string(), ::getpid(), now));
    UniqueFd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (fd) return FileAside(target, std::move(aside), std::move(fd));
    if (errno != EEXIST) return errno_error(errno, fmt::format("cannot write {}", target.string()));
  }
}

FileAside::FileAside(std::filesystem::path target, std::filesystem::path aside, UniqueFd fd)
    : target_(std::move(target)), aside_(std::move(aside)), fd_(std::move(fd)) {}

FileAside::~FileAside() {
  if (fd_) ::unlink(aside_.c_str());
}

Status FileAside::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd_.get(), data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_error(errno, fmt::format("cannot write {}", target_.string()));
    data.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status FileAside::sync() {
  if (::fsync(fd_.get()) == 0) return {};
  return errno_error(errno, fmt::format("cannot write {}", target_.string()));
}

Status FileAside::commit() {
  if (::rename(aside_.c_str(), target_.c_str()) != 0)
    return errno_error(errno,
                       fmt::format("cannot rename {} to {}", aside_.string(), target_.string()));
  fd_.reset();
  return {};
}

Status replace_file(const std::filesystem::path& path, std::string_view text) {
  auto file = FileAside::open(path);
  if (!file) return fail(std::move(file).error());
  if (auto written = file->write(text); !written) return written;
  return file->commit();
}

}  // namespace megalaunch
