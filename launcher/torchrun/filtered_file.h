#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// A file that gets the lines with one of some words: --duplicate-stdout-filters. Lines come from
/// one thread; what cannot be written is lost.
class FilteredFile {
 public:
  /// Makes or empties the file.
  static Result<std::shared_ptr<FilteredFile>> open(const std::filesystem::path& path,
                                                    std::vector<std::string> words);

  void see(std::string_view prefix, std::string_view line);

 private:
  FilteredFile(UniqueFd file, std::vector<std::string> words)
      : file_(std::move(file)), words_(std::move(words)) {}

  UniqueFd file_;
  std::vector<std::string> words_;
};

}  // namespace megalaunch
