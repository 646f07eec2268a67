#include "launcher/ranks/program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace megalaunch {
namespace {

enum class Candidate { kRunnable, kMissing, kFolder, kNotExecutable };

Candidate inspect(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return Candidate::kMissing;
  if (S_ISDIR(info.st_mode)) return Candidate::kFolder;
  // access() as root says yes to files without any execute bit; execve does not.
  const bool has_execute_bit = (info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0;
  if (!has_execute_bit || ::access(path.c_str(), X_OK) != 0) return Candidate::kNotExecutable;
  return Candidate::kRunnable;
}

tl::unexpected<Error> refuse(Candidate candidate, const std::filesystem::path& path) {
  switch (candidate) {
    case Candidate::kFolder:
      return fail(Error::Kind::kUsage,
                  "cannot start {}: it is a folder; `command:` must name a program", path.string());
    case Candidate::kNotExecutable:
      return fail(
          Error::Kind::kUsage,
          "cannot start {}: it is not executable; run `chmod +x {}`, or name its interpreter first",
          path.string(), path.string());
    default:
      return fail(Error::Kind::kUsage,
                  "cannot start {}: no such file; check `command:` and `workdir:`", path.string());
  }
}

}  // namespace

Result<std::filesystem::path> find_program(std::string_view name, std::string_view search_path,
                                           const std::filesystem::path& cwd) {
  if (name.empty())
    return fail(Error::Kind::kUsage, "cannot start a program with an empty name; check `command:`");
  if (name.find('/') != std::string_view::npos) {
    const auto path = (cwd / name).lexically_normal();
    const Candidate candidate = inspect(path);
    if (candidate == Candidate::kRunnable) return path;
    return refuse(candidate, path);
  }
  std::optional<std::filesystem::path> not_executable;
  for (std::string_view rest = search_path; !rest.empty();) {
    const size_t colon = rest.find(':');
    const std::string_view folder = rest.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    const auto path = (folder.empty() ? cwd : cwd / folder) / name;
    const Candidate candidate = inspect(path);
    if (candidate == Candidate::kRunnable) return path;
    if (candidate == Candidate::kNotExecutable && !not_executable) not_executable = path;
  }
  if (not_executable) return refuse(Candidate::kNotExecutable, *not_executable);
  return fail(Error::Kind::kUsage,
              "cannot start '{}': no such program in PATH ({}); install it or give its full path",
              name, search_path);
}

}  // namespace megalaunch
