#include "launcher/causes/error_file.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using Json = nlohmann::json;

std::string bounded(std::string text) {
  if (text.size() <= ErrorFile::kMaxText) return text;
  constexpr std::string_view kCut = "\n[...]\n";
  const size_t half = (ErrorFile::kMaxText - kCut.size()) / 2;
  return text.substr(0, half) + std::string(kCut) + text.substr(text.size() - half);
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? bounded(found->get<std::string>())
                                                     : std::string();
}

/// A number or a number in a string; 0 means "not known" to torch.
std::optional<WallTime> time_of(const Json& object) {
  const auto found = object.find("timestamp");
  if (found == object.end()) return std::nullopt;
  int64_t value = 0;
  if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
      return std::nullopt;
  } else if (found->is_number_integer()) {
    value = found->get<int64_t>();
  } else if (found->is_number_float() && found->get<double>() > 0 && found->get<double>() < 1e10) {
    value = static_cast<int64_t>(found->get<double>());
  }
  constexpr int64_t kYear2200 = 7'258'118'400;
  if (value <= 0 || value >= kYear2200) return std::nullopt;
  return WallTime(seconds(value));
}

}  // namespace

Result<ErrorFile> parse_error_file(std::string_view text) {
  if (text.size() > ErrorFile::kMaxSize)
    return fail(Error::Kind::kProtocol, "error file of {} bytes, at most {} are read", text.size(),
                ErrorFile::kMaxSize);
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("message"))
    return fail(Error::Kind::kProtocol, "error file is not a JSON object with a member 'message'");
  const Json& message = json["message"];
  ErrorFile file;
  if (message.is_string()) {
    file.message = bounded(message.get<std::string>());
    file.timestamp = time_of(json);
    return file;
  }
  if (!message.is_object())
    return fail(Error::Kind::kProtocol,
                "'message' in the error file is neither text nor an object");
  file.message = text_of(message, "message");
  if (const auto extra = message.find("extraInfo"); extra != message.end() && extra->is_object()) {
    file.py_callstack = text_of(*extra, "py_callstack");
    file.timestamp = time_of(*extra);
  }
  return file;
}

}  // namespace megalaunch
