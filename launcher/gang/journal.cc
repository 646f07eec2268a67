#include "launcher/gang/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "env/file_aside.h"
#include "env/unique_fd.h"
#include "env/utc_time.h"

namespace megalaunch {
namespace {

using nlohmann::json;

json to_json(const JournalState& state) {
  return {{"job", state.job},
          {"run_id", state.run_id},
          {"start_time", state.start_time},
          {"host", state.host},
          {"pid", state.pid},
          {"nodes", state.nodes},
          {"generation", state.generation},
          {"phase", state.phase},
          {"since", state.since},
          {"detail", state.detail},
          {"last_failure", state.last_failure},
          {"exit_code", state.exit_code ? json(*state.exit_code) : json(nullptr)},
          {"history", to_json(state.history)}};
}

/// get<int>() would round floats and cut what is too large.
int small_number(const json& object, const char* name) {
  const json& value = object.at(name);
  if (!value.is_number_integer() || value < 0 || value > 1 << 30)
    throw json::other_error::create(599, fmt::format("'{}' is no such number", name), &value);
  return value.get<int>();
}

Result<JournalState> state_from_json(const json& object) {
  try {
    JournalState state;
    state.job = object.at("job").get<std::string>();
    state.run_id = object.at("run_id").get<std::string>();
    state.start_time = object.at("start_time").get<std::string>();
    state.host = object.at("host").get<std::string>();
    state.pid = small_number(object, "pid");
    state.nodes = small_number(object, "nodes");
    state.generation = small_number(object, "generation");
    state.phase = object.at("phase").get<std::string>();
    state.since = object.at("since").get<std::string>();
    state.detail = object.at("detail").get<std::string>();
    state.last_failure = object.at("last_failure").get<std::string>();
    if (!object.at("exit_code").is_null()) state.exit_code = small_number(object, "exit_code");
    auto history = restart_history_from_json(object.at("history"));
    if (!history) return fail(std::move(history).error());
    state.history = std::move(*history);
    return state;
  } catch (const json::exception& error) {
    return fail(Error::Kind::kProtocol, "{}", error.what());
  }
}

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(errno, "write");
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace

Result<std::optional<JournalState>> Journal::load(const std::filesystem::path& log_dir) {
  const auto path = log_dir / "journal.json";
  std::ifstream file(path);
  if (!file) return std::nullopt;
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object())
    return fail(Error::Kind::kProtocol, "{} is no JSON object; move it away to start a new run",
                path.string());
  auto state = state_from_json(object);
  if (!state)
    return fail(std::move(state).error().within(
        fmt::format("{} makes no sense; move it away to start a new run", path.string())));
  return std::optional<JournalState>(std::move(*state));
}

Result<Journal> Journal::open(const std::filesystem::path& log_dir,
                              const std::filesystem::path& run_dir, JournalState state) {
  Journal journal(log_dir, run_dir, std::move(state));
  std::error_code error;
  std::filesystem::create_directories(journal.run_dir(), error);
  if (error)
    return fail(Error::Kind::kUsage,
                "cannot make the log folder {}: {}. Name a writable one with `logs: {{dir: ...}}` "
                "or OUTPUT_DIR.",
                journal.run_dir().string(), error.message());
  if (::access(journal.run_dir().c_str(), W_OK) != 0)
    return fail(Error::Kind::kUsage,
                "cannot write into the log folder {}: {}. Name a writable one with `logs: {{dir: "
                "...}}` or OUTPUT_DIR.",
                journal.run_dir().string(), errno_text(errno));
  return journal;
}

Status Journal::record(WallTime now, std::string_view event, std::string_view detail) {
  state_.phase = event;
  state_.since = iso_time(now);
  state_.detail = detail;
  const json line = {{"time", state_.since},
                     {"event", event},
                     {"generation", state_.generation},
                     {"detail", detail}};
  const auto events = run_dir() / "events.jsonl";
  const UniqueFd file(::open(events.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file) return errno_error(errno, fmt::format("open {}", events.string()));
  if (auto status =
          write_all(file.get(), line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
      !status)
    return fail(std::move(status).error().within(events.string()));
  return replace_file(log_dir_ / "journal.json", journal_json(state_));
}

std::string journal_json(const JournalState& state) {
  return to_json(state).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace megalaunch
