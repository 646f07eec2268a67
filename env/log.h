#pragma once

#include <fmt/core.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace megalaunch {

/// Where the launcher's own messages go. Passed to whoever needs it; there is no default logger.
/// Thread-safe. Keeps spdlog out of the headers, because its own cost seconds per source file.
class Log {
 public:
  enum class Level { kDebug, kInfo, kWarning, kError };

  /// Lines `megalaunch HH:MM:SS level: text` to stderr, coloured on a terminal.
  static Log to_stderr(Level level = Level::kInfo);
  /// Each formatted line (without its newline) to `sink`, on the thread that logs. For the console
  /// writer and tests.
  static Log to_function(std::function<void(Level, std::string_view line)> sink,
                         Level level = Level::kDebug);
  static Log to_nowhere();

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(Level::kDebug))
      write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const {
    write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
  }

  bool enabled(Level level) const;
  void write(Level level, std::string_view text) const;

 private:
  explicit Log(std::shared_ptr<spdlog::logger> logger) : logger_(std::move(logger)) {}
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace megalaunch
