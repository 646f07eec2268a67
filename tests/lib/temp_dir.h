#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace megalaunch {

/// A fresh folder that is removed with everything in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file below the folder, making its parents, and returns its path.
  std::filesystem::path write(const std::string& name, std::string_view text) const;

 private:
  std::filesystem::path path_;
};

/// The whole file, or a test failure's worth of emptiness.
std::string read_file(const std::filesystem::path& path);

}  // namespace megalaunch
