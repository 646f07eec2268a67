#include "launcher/torchrun/run_folder.h"

#include <algorithm>
#include <cerrno>

#include "rendezvous/gang/proof.h"

namespace megalaunch {

namespace fs = std::filesystem;

Result<fs::path> make_temporary_folder(const Variables& environment) {
  const fs::path base = environment.get_nonempty("TMPDIR").value_or("/tmp");
  const fs::path folder = base / ("torchelastic_" + fresh_nonce().substr(0, 8));
  std::error_code error;
  if (!fs::create_directory(folder, error))
    return errno_error(error ? error.value() : EEXIST,
                       fmt::format("make a folder for logs in {} (TMPDIR)", base.string()));
  return folder;
}

Result<RunFolder> RunFolder::make(const std::optional<std::string>& log_dir,
                                  const std::string& run_id, const fs::path& cwd,
                                  const Variables& environment) {
  auto base = log_dir ? Result<fs::path>(cwd / *log_dir) : make_temporary_folder(environment);
  if (!base) return fail(std::move(base).error());
  // One path element, whatever the id is made of.
  std::string name = run_id;
  std::replace(name.begin(), name.end(), '/', '_');
  const fs::path folder = *base / fmt::format("{}_{}", name, fresh_nonce().substr(0, 8));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return errno_error(error.value(),
                       fmt::format("make the log folder {} (--log-dir)", folder.string()));
  return RunFolder(folder.lexically_normal());
}

fs::path RunFolder::attempt(int generation) const {
  return path_ / fmt::format("attempt_{}", generation);
}

RankFiles RunFolder::rank(int generation, int local_rank) const {
  return {attempt(generation) / std::to_string(local_rank)};
}

}  // namespace megalaunch
