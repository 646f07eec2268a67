#include "env/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <mutex>

namespace megalaunch {
namespace {

spdlog::level::level_enum to_spdlog(Log::Level level) {
  switch (level) {
    case Log::Level::kDebug:
      return spdlog::level::debug;
    case Log::Level::kInfo:
      return spdlog::level::info;
    case Log::Level::kWarning:
      return spdlog::level::warn;
    case Log::Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

Log::Level from_spdlog(spdlog::level::level_enum level) {
  if (level <= spdlog::level::debug) return Log::Level::kDebug;
  if (level == spdlog::level::info) return Log::Level::kInfo;
  if (level == spdlog::level::warn) return Log::Level::kWarning;
  return Log::Level::kError;
}

class FunctionSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FunctionSink(std::function<void(Log::Level, std::string_view)> sink)
      : sink_(std::move(sink)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    std::string_view text(line.data(), line.size());
    if (text.ends_with('\n')) text.remove_suffix(1);
    sink_(from_spdlog(message.level), text);
  }
  void flush_() override {}

  std::function<void(Log::Level, std::string_view)> sink_;
};

std::shared_ptr<spdlog::logger> make_logger(spdlog::sink_ptr sink, Log::Level level) {
  auto logger = std::make_shared<spdlog::logger>("megalaunch", std::move(sink));
  logger->set_pattern("megalaunch %H:%M:%S.%e %^%l%$: %v");
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::trace);
  return logger;
}

}  // namespace

Log Log::to_stderr(Level level) {
  return Log(make_logger(std::make_shared<spdlog::sinks::stderr_color_sink_mt>(), level));
}

Log Log::to_function(std::function<void(Level, std::string_view)> sink, Level level) {
  return Log(make_logger(std::make_shared<FunctionSink>(std::move(sink)), level));
}

Log Log::to_nowhere() {
  return Log(make_logger(std::make_shared<spdlog::sinks::null_sink_mt>(), Level::kError));
}

bool Log::enabled(Level level) const {
  return logger_->should_log(to_spdlog(level));
}

void Log::write(Level level, std::string_view text) const {
  logger_->log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace megalaunch
