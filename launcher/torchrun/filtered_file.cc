#include "launcher/torchrun/filtered_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace megalaunch {

Result<std::shared_ptr<FilteredFile>> FilteredFile::open(const std::filesystem::path& path,
                                                         std::vector<std::string> words) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
  if (!file) return errno_error(errno, fmt::format("open {}", path.string()));
  return std::shared_ptr<FilteredFile>(new FilteredFile(std::move(file), std::move(words)));
}

void FilteredFile::see(std::string_view prefix, std::string_view line) {
  const bool wanted = std::any_of(words_.begin(), words_.end(), [line](const std::string& word) {
    return line.find(word) != line.npos;
  });
  if (!wanted) return;
  std::string text;
  text.append(prefix).append(line);
  if (!text.ends_with('\n')) text += '\n';
  [[maybe_unused]] const ssize_t count = ::write(file_.get(), text.data(), text.size());
}

}  // namespace megalaunch
