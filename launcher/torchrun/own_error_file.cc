#include "launcher/torchrun/own_error_file.h"

#include <nlohmann/json.hpp>

#include "env/file_aside.h"
#include "launcher/gang/rank_files.h"

namespace megalaunch {
namespace {

bool earlier(const Evidence& a, const Evidence& b) {
  return a.error_file->timestamp.value_or(a.ended_at) <
         b.error_file->timestamp.value_or(b.ended_at);
}

}  // namespace

Status pass_on_error_file(const std::vector<Evidence>& evidence,
                          const std::filesystem::path& target) {
  const Evidence* first = nullptr;
  for (const Evidence& each : evidence)
    if (each.error_file && (first == nullptr || earlier(each, *first))) first = &each;
  if (first == nullptr) return {};
  auto json = nlohmann::json::parse(read_tail(first->error_file->path, ErrorFile::kMaxSize),
                                    nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("message")) return {};
  int code = 1;
  if (const auto* exited = std::get_if<Exited>(&first->end)) code = exited->code;
  if (const auto* signaled = std::get_if<Signaled>(&first->end)) code = -signaled->signal;
  nlohmann::json& message = json["message"];
  if (message.is_object())
    message["errorCode"] = code;
  else
    json["errorCode"] = code;
  return replace_file(target, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace megalaunch
