#include "launcher/results/run_record.h"

#include <fmt/format.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "env/file_aside.h"
#include "env/utc_time.h"

namespace megalaunch {
namespace {

using nlohmann::json;

/// The record's fields with their keys in run.json: the one list that writing, reading and
/// completing share. Calls `field(key, member of each record)` for every field.
template <class Field, class... Records>
void for_each_field(Field field, Records&... records) {
  field("name", records.name...);
  field("run_id", records.run_id...);
  field("model", records.model...);
  field("size", records.size...);
  field("precision", records.precision...);
  field("nodes", records.nodes...);
  field("gpus", records.gpus...);
  field("tp", records.tp...);
  field("pp", records.pp...);
  field("cp", records.cp...);
  field("mbs", records.mbs...);
  field("gbs", records.gbs...);
  field("seq", records.seq...);
  field("activations", records.activations...);
  field("virtual_stage_layers", records.virtual_stage_layers...);
  field("card", records.card...);
  field("started", records.started...);
  field("ended", records.ended...);
  field("generations", records.generations...);
  field("outcome", records.outcome...);
  field("exit_code", records.exit_code...);
  field("cause", records.cause...);
}

bool is_known(const std::string& text) {
  return !text.empty();
}
bool is_known(const ModelSize& size) {
  return size.complete();
}
template <class T>
bool is_known(const std::optional<T>& value) {
  return value.has_value();
}

json value_to_json(const std::string& text) {
  return text;
}
json value_to_json(const std::optional<int>& value) {
  return *value;
}
json value_to_json(const std::optional<std::int64_t>& value) {
  return *value;
}
json value_to_json(const std::optional<WallTime>& value) {
  return iso_time(*value);
}
json value_to_json(const ModelSize& size) {
  return {{"layers", size.layers},
          {"hidden", size.hidden},
          {"ffn", size.ffn},
          {"heads", size.heads},
          {"query_groups", size.query_groups},
          {"vocabulary", size.vocabulary},
          {"gated", size.gated}};
}

void value_from_json(const json& value, std::string& text) {
  text = value.get<std::string>();
}
template <class Integer>
void value_from_json(const json& value, std::optional<Integer>& number) {
  if (!value.is_number_integer()) throw json::type_error::create(302, "not an integer", &value);
  number = value.get<Integer>();
}
void value_from_json(const json& value, std::optional<WallTime>& time) {
  std::tm utc{};
  const auto text = value.get<std::string>();
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  if (end == nullptr || *end != '\0')
    throw json::type_error::create(302, "not a time such as 2024-11-07T16:27:21Z", &value);
  time = std::chrono::system_clock::from_time_t(::timegm(&utc));
}
void value_from_json(const json& value, ModelSize& size) {
  const auto integer = [&](const char* key) {
    std::optional<std::int64_t> number;
    value_from_json(value.at(key), number);
    return *number;
  };
  size = {integer("layers"),         integer("hidden"),       integer("ffn"),
          integer("heads"),          integer("query_groups"), integer("vocabulary"),
          value.value("gated", true)};
}

}  // namespace

void RunRecord::complete_from(const RunRecord& other) {
  for_each_field(
      [](const char*, auto& mine, const auto& theirs) {
        if (!is_known(mine)) mine = theirs;
      },
      *this, other);
}

std::string activations_word(std::string_view as_written) {
  if (as_written.empty() || as_written == "false" || as_written == "none") return "none";
  if (as_written == "sel") return "selective";
  return std::string(as_written);
}

json to_json(const RunRecord& record) {
  json object = json::object();
  for_each_field(
      [&](const char* key, const auto& value) {
        if (is_known(value)) object[key] = value_to_json(value);
      },
      record);
  return object;
}

Result<RunRecord> run_record_from_json(const json& object) {
  if (!object.is_object()) return fail(Error::Kind::kUsage, "a run record must be a JSON object");
  RunRecord record;
  const char* at = "";
  try {
    for_each_field(
        [&](const char* key, auto& value) {
          at = key;
          if (const auto found = object.find(key); found != object.end() && !found->is_null())
            value_from_json(*found, value);
        },
        record);
  } catch (const json::exception& error) {
    return fail(Error::Kind::kUsage, "key '{}': {}", at, error.what());
  }
  return record;
}

Status write_run_record(const std::filesystem::path& run_directory, const RunRecord& record) {
  std::error_code error;
  std::filesystem::create_directories(run_directory, error);
  if (error)
    return errno_error(error.value(),
                       fmt::format("create the run directory {}", run_directory.string()));
  return replace_file(run_directory / "run.json",
                      to_json(record).dump(2, ' ', false, json::error_handler_t::replace) + '\n');
}

Result<RunRecord> read_run_record(const std::filesystem::path& run_directory) {
  const auto path = run_directory / "run.json";
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Error::Kind::kUnavailable, "read {}: no such file", path.string());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const json object = json::parse(text, nullptr, false);
  if (object.is_discarded()) return fail(Error::Kind::kUsage, "read {}: not JSON", path.string());
  auto record = run_record_from_json(object);
  if (!record) return fail(std::move(record).error().within(fmt::format("read {}", path.string())));
  return record;
}

}  // namespace megalaunch
