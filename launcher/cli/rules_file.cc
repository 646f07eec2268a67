#include "launcher/cli/rules_file.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>

namespace megalaunch {
namespace {

constexpr std::streamsize kMaxFileSize = 4 << 20;

}  // namespace

Result<CauseRules> rules_with_file(const std::filesystem::path& file) {
  CauseRules rules = CauseRules::built_in();
  if (file.empty()) return rules;
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    return fail(Error::Kind::kUsage, "cannot read the causes file {}: it is a directory",
                file.string());
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    return fail(Error::Kind::kUsage, "cannot read the causes file {}: {}", file.string(),
                errno_text(errno));
  std::string text(kMaxFileSize + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.gcount() > kMaxFileSize)
    return fail(Error::Kind::kUsage, "cannot read the causes file {}: it is larger than {} MiB",
                file.string(), kMaxFileSize >> 20);
  text.resize(static_cast<size_t>(stream.gcount()));
  return rules.with(text, file.string());
}

}  // namespace megalaunch
