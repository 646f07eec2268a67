#include "launcher/causes/evidence.h"

#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using Json = nlohmann::json;

int64_t nanoseconds_of(WallTime time) {
  return std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

WallTime wall_time(int64_t count) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(nanoseconds(count)));
}

/// Reads members and remembers the first that is not as it must be.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  int64_t integer(const char* key, int64_t low, int64_t high) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_number_integer()) return complain(key), low;
    // Unsigned values above the signed range would wrap around.
    if (found->is_number_unsigned() &&
        found->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
      return complain(key), low;
    const auto value = found->get<int64_t>();
    if (value < low || value > high) return complain(key), low;
    return value;
  }
  int small(const char* key) {
    return static_cast<int>(integer(key, 0, std::numeric_limits<int>::max()));
  }
  bool flag(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_boolean()) return complain(key), false;
    return found->get<bool>();
  }
  std::string text(const char* key, size_t limit) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_string()) return complain(key), std::string();
    auto value = found->get<std::string>();
    if (value.size() > limit) return complain(key), std::string();
    return value;
  }
  void complain(const char* key) {
    if (bad_.empty()) bad_ = key;
  }
  const std::string& bad() const { return bad_; }

 private:
  const Json& json_;
  std::string bad_;
};

}  // namespace

std::optional<int> parse_signal(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (int signal = 1; signal < NSIG; ++signal)
    if (signal_name(signal).substr(3) == name) return signal;
  return std::nullopt;
}

std::string describe(const RankEnd& end) {
  if (const auto* exited = std::get_if<Exited>(&end)) return describe(WaitStatus(*exited));
  if (const auto* signaled = std::get_if<Signaled>(&end)) return describe(WaitStatus(*signaled));
  if (std::holds_alternative<LostNode>(end)) return "was lost with its node";
  return "ended nobody knows how";
}

RankEnd to_rank_end(const WaitStatus& status) {
  return std::visit([](const auto& end) { return RankEnd(end); }, status);
}

bool succeeded(const RankEnd& end) {
  const auto* exited = std::get_if<Exited>(&end);
  return exited != nullptr && exited->code == 0;
}

std::string_view bounded_tail(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  text.remove_prefix(text.size() - limit);
  const size_t line = text.find('\n');
  if (line != std::string_view::npos && line + 1 < text.size()) text.remove_prefix(line + 1);
  return text;
}

std::string valid_utf8(std::string_view text) {
  const std::string dumped = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(dumped).get<std::string>();
}

nlohmann::json to_json(const RankEnd& end) {
  if (const auto* exited = std::get_if<Exited>(&end)) return {{"exit", exited->code}};
  if (const auto* signaled = std::get_if<Signaled>(&end))
    return {{"signal", signaled->signal}, {"core", signaled->core_dumped}};
  if (std::holds_alternative<LostNode>(end)) return {{"lost_node", true}};
  return Json::object();
}

Result<RankEnd> rank_end_from_json(const nlohmann::json& json) {
  if (!json.is_object()) return fail(Error::Kind::kProtocol, "a rank's end is not a JSON object");
  Reader reader(json);
  RankEnd end = NotRecorded{};
  if (json.contains("exit")) {
    end = Exited{static_cast<int>(reader.integer("exit", 0, 255))};
  } else if (json.contains("signal")) {
    const int signal = static_cast<int>(reader.integer("signal", 1, NSIG - 1));
    end = Signaled{signal, reader.flag("core")};
  } else if (json.contains("lost_node")) {
    end = LostNode{};
  }
  if (!reader.bad().empty())
    return fail(Error::Kind::kProtocol, "a rank's end: '{}' is missing, ill-typed or out of range",
                reader.bad());
  return end;
}

nlohmann::json to_json(const Evidence& evidence) {
  // Cut again: a bad byte may have grown to three.
  const auto clean = [](std::string_view text) {
    return std::string(bounded_tail(valid_utf8(bounded_tail(text))));
  };
  Json json{{"node_rank", evidence.node_rank},
            {"host", clean(evidence.host)},
            {"rank", evidence.rank},
            {"local_rank", evidence.local_rank},
            {"pid", evidence.pid},
            {"end", to_json(evidence.end)},
            {"stopped_by_us", evidence.stopped_by_us},
            {"oom_killed", evidence.oom_killed},
            {"log_disk_full", evidence.log_disk_full},
            {"ended_at_ns", nanoseconds_of(evidence.ended_at)},
            {"clock_offset_ns", evidence.clock_offset.count()},
            {"clock_uncertainty_ns", evidence.clock_uncertainty.count()},
            {"stderr_tail", clean(evidence.stderr_tail)},
            {"stdout_tail", clean(evidence.stdout_tail)}};
  if (evidence.error_file) {
    const ErrorFile& file = *evidence.error_file;
    Json error{{"message", clean(file.message)}, {"py_callstack", clean(file.py_callstack)}};
    if (!file.path.empty()) error["path"] = clean(file.path);
    if (file.timestamp) error["timestamp_ns"] = nanoseconds_of(*file.timestamp);
    json["error_file"] = std::move(error);
  }
  return json;
}

Result<Evidence> evidence_from_json(const nlohmann::json& json) {
  if (!json.is_object()) return fail(Error::Kind::kProtocol, "evidence is not a JSON object");
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max() / 4;  // sums of two still fit
  constexpr size_t kMaxHost = 1024, kMaxPath = 8192;
  Reader reader(json);
  Evidence evidence;
  evidence.node_rank = reader.small("node_rank");
  evidence.host = reader.text("host", kMaxHost);
  evidence.rank = reader.small("rank");
  evidence.local_rank = reader.small("local_rank");
  evidence.pid = reader.small("pid");
  if (const auto end = rank_end_from_json(json.value("end", Json()))) {
    evidence.end = *end;
  } else {
    reader.complain("end");
  }
  evidence.stopped_by_us = reader.flag("stopped_by_us");
  evidence.oom_killed = reader.flag("oom_killed");
  if (json.contains("log_disk_full")) evidence.log_disk_full = reader.flag("log_disk_full");
  evidence.ended_at = wall_time(reader.integer("ended_at_ns", 0, kMax));
  evidence.clock_offset = nanoseconds(reader.integer("clock_offset_ns", -kMax, kMax));
  evidence.clock_uncertainty = nanoseconds(reader.integer("clock_uncertainty_ns", 0, kMax));
  evidence.stderr_tail = reader.text("stderr_tail", Evidence::kMaxTail);
  evidence.stdout_tail = reader.text("stdout_tail", Evidence::kMaxTail);
  if (const auto found = json.find("error_file"); found != json.end()) {
    if (!found->is_object())
      return fail(Error::Kind::kProtocol, "evidence: 'error_file' is not an object");
    Reader inner(*found);
    ErrorFile file;
    file.message = inner.text("message", ErrorFile::kMaxText);
    file.py_callstack = inner.text("py_callstack", ErrorFile::kMaxText);
    if (found->contains("path")) file.path = inner.text("path", kMaxPath);
    if (found->contains("timestamp_ns"))
      file.timestamp = wall_time(inner.integer("timestamp_ns", 0, kMax));
    if (!inner.bad().empty()) reader.complain("error_file");
    evidence.error_file = std::move(file);
  }
  if (!reader.bad().empty())
    return fail(Error::Kind::kProtocol, "evidence: '{}' is missing, ill-typed or out of range",
                reader.bad());
  return evidence;
}

}  // namespace megalaunch
