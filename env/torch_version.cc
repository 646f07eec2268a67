#include "env/torch_version.h"

#include <charconv>
#include <fstream>
#include <string>
#include <vector>

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

/// torch/version.py below one of Python's folders.
std::optional<TorchVersion> torch_in(const fs::path& folder) {
  std::ifstream file(folder / "torch" / "version.py");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("__version__")) continue;
    const size_t begin = line.find_first_of("'\"");
    const size_t end = begin == line.npos ? begin : line.find(line[begin], begin + 1);
    if (end == line.npos) continue;
    return parse_torch_version(std::string_view(line).substr(begin + 1, end - begin - 1));
  }
  return std::nullopt;
}

/// `key = value` of a virtual environment's pyvenv.cfg.
std::string setting(const fs::path& file_path, std::string_view key) {
  std::ifstream file(file_path);
  for (std::string line; std::getline(file, line);) {
    const size_t equals = line.find('=');
    if (equals == line.npos) continue;
    const std::string name = line.substr(0, line.find_last_not_of(" \t", equals - 1) + 1);
    const size_t begin = line.find_first_not_of(" \t", equals + 1);
    if (name == key && begin != line.npos) return line.substr(begin);
  }
  return {};
}

/// "python3.11", when the file or what it links to has such a name; else what is below `lib`.
std::vector<std::string> library_names(const fs::path& program, const fs::path& lib) {
  std::error_code error;
  const std::string real = fs::canonical(program, error).filename().string();
  if (!error && real.starts_with("python3.")) return {real};
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(lib, error))
    if (const std::string name = entry.path().filename().string(); name.starts_with("python3."))
      names.push_back(name);
  return names;
}

std::vector<fs::path> library_folders(const fs::path& program, const fs::path& prefix,
                                      const Variables& environment, bool with_user) {
  std::vector<fs::path> folders;
  for (const char* lib : {"lib", "lib64"})
    for (const std::string& name : library_names(program, prefix / lib)) {
      const auto home = environment.get_nonempty("HOME");
      if (with_user && home && !environment.get_nonempty("PYTHONNOUSERSITE"))
        folders.push_back(fs::path(*home) / ".local" / "lib" / name / "site-packages");
      // Debian's order for the system's interpreter.
      if (prefix == "/usr")
        folders.push_back(fs::path("/usr/local") / lib / name / "dist-packages");
      folders.push_back(prefix / lib / name / "site-packages");
      folders.push_back(prefix / lib / name / "dist-packages");
    }
  folders.push_back(prefix / "lib" / "python3" / "dist-packages");
  return folders;
}

std::optional<TorchVersion> torch_of(const fs::path& program, const Variables& environment) {
  const fs::path prefix = program.parent_path().parent_path();
  std::vector<fs::path> folders;
  fs::path base;
  if (std::error_code error; fs::exists(prefix / "pyvenv.cfg", error)) {
    folders = library_folders(program, prefix, environment, /*with_user=*/false);
    if (setting(prefix / "pyvenv.cfg", "include-system-site-packages") == "true")
      base = fs::path(setting(prefix / "pyvenv.cfg", "home")) / program.filename();
  } else {
    const fs::path real = fs::canonical(program, error);
    const fs::path real_prefix = error ? prefix : real.parent_path().parent_path();
    folders = library_folders(program, real_prefix, environment, /*with_user=*/true);
  }
  for (const fs::path& folder : folders)
    if (const auto version = torch_in(folder)) return version;
  if (!base.empty() && base.parent_path() != program.parent_path())
    return torch_of(base, environment);
  return std::nullopt;
}

}  // namespace

std::optional<TorchVersion> parse_torch_version(std::string_view text) {
  TorchVersion version;
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return std::nullopt;
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc()) return std::nullopt;
  return version;
}

std::optional<TorchVersion> installed_torch(const fs::path& program, const Variables& environment) {
  if (!program.filename().string().starts_with("python")) return std::nullopt;
  std::string_view path;
  const auto python_path = environment.get("PYTHONPATH");
  if (python_path) path = *python_path;
  while (!path.empty()) {
    const size_t colon = path.find(':');
    if (const std::string_view folder = path.substr(0, colon); !folder.empty())
      if (const auto version = torch_in(folder)) return version;
    path.remove_prefix(colon == path.npos ? path.size() : colon + 1);
  }
  return torch_of(program, environment);
}

std::string_view nccl_error_handling_variable(std::optional<TorchVersion> torch) {
  return torch && *torch < TorchVersion{2, 2} ? "NCCL_ASYNC_ERROR_HANDLING"
                                              : "TORCH_NCCL_ASYNC_ERROR_HANDLING";
}

}  // namespace megalaunch
