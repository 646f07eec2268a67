#include "launcher/gang/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
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

constexpr std::string_view kNewest = "journal.json", kPrevious = "journal.previous.json";

/// What was written this long ago is on the disk, whatever happens to the machine: the kernel keeps
/// data back for half a minute.
constexpr seconds kOnDisk{60};

/// Nothing: there is no such file. kSystem: it cannot be read. kProtocol: it makes no sense.
Result<std::optional<JournalState>> load_file(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) return errno_error(errno, fmt::format("read the journal {}", path.string()));
  std::string text;
  char piece[4096];
  for (ssize_t count = 0; (count = ::read(file.get(), piece, sizeof piece)) != 0;) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_error(errno, fmt::format("read the journal {}", path.string()));
    text.append(piece, static_cast<size_t>(count));
  }
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object())
    return fail(Error::Kind::kProtocol, "{} is no JSON object; move it away to start a new run",
                path.string());
  auto state = state_from_json(object);
  if (!state)
    return fail(Error::Kind::kProtocol, "{} makes no sense; move it away to start a new run: {}",
                path.string(), state.error().message);
  return std::optional<JournalState>(std::move(*state));
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

Status append(const std::filesystem::path& path, std::string_view text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file) return errno_error(errno, fmt::format("open {}", path.string()));
  if (auto status = write_all(file.get(), text); !status)
    return fail(std::move(status).error().within(path.string()));
  return {};
}

}  // namespace

Result<std::optional<JournalState>> Journal::load(const std::filesystem::path& log_dir) {
  auto newest = load_file(log_dir / kNewest);
  if (newest || newest.error().kind != Error::Kind::kProtocol) return newest;
  auto previous = load_file(log_dir / kPrevious);
  if (!previous || !*previous) return newest;
  (*previous)->note =
      fmt::format("{}; going on from {}", newest.error().message, (log_dir / kPrevious).string());
  return previous;
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
  const auto appended = append(run_dir() / "events.jsonl",
                               line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
  keep_previous(now);
  const auto replaced = replace_file(log_dir_ / kNewest, journal_json(state_));
  return appended ? replaced : appended;
}

void Journal::keep_previous(WallTime now) {
  if (!replaced_at_ || now - *replaced_at_ >= kOnDisk) {
    const auto previous = log_dir_ / kPrevious;
    ::unlink(previous.c_str());
    // A file system without links has the newest alone.
    std::error_code ignored;
    std::filesystem::create_hard_link(log_dir_ / kNewest, previous, ignored);
  }
  replaced_at_ = now;
}

std::string journal_json(const JournalState& state) {
  return to_json(state).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace megalaunch
