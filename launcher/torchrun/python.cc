#include "launcher/torchrun/python.h"

#include <optional>

#include "launcher/ranks/program.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNames[] = {"python3", "python"};

/// The folder of the file that was called; nothing when that is not named torchrun.
std::optional<fs::path> home_of_torchrun(const std::string& called_as, const std::string& path,
                                         const fs::path& cwd) {
  if (fs::path(called_as).filename() != "torchrun") return std::nullopt;
  const auto file = find_program(called_as, path, cwd);
  return file ? std::optional(file->parent_path()) : std::nullopt;
}

}  // namespace

Result<fs::path> find_python(const std::string& called_as, const Variables& environment,
                             const fs::path& cwd) {
  const std::string path = environment.get("PATH").value_or("/usr/bin:/bin");
  if (const auto named = environment.get_nonempty("PYTHON_EXEC")) {
    auto found = find_program(*named, path, cwd);
    if (!found) return fail(std::move(found).error().within("PYTHON_EXEC"));
    return found;
  }
  if (const auto home = home_of_torchrun(called_as, path, cwd))
    for (const char* name : kNames)
      if (auto found = find_program((*home / name).string(), path, cwd)) return found;
  for (const char* name : kNames)
    if (auto found = find_program(name, path, cwd)) return found;
  return fail(Error::Kind::kSystem,
              "there is no python3 and no python in PATH ({}); name one with PYTHON_EXEC", path);
}

}  // namespace megalaunch
