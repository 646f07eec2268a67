#include "launcher/torchrun/rendezvous_options.h"

#include <algorithm>

#include "env/ascii.h"
#include "launcher/torchrun/arguments.h"

namespace megalaunch {
namespace {

constexpr int64_t kLongest = 1'000'000'000;  // seconds; beyond it sums of times would overflow

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<bool> truth(std::string_view text) {
  const std::string word = ascii_lower(text);
  if (word == "1" || word == "true" || word == "t" || word == "yes" || word == "y") return true;
  if (word == "0" || word == "false" || word == "f" || word == "no" || word == "n") return false;
  return std::nullopt;
}

Status set(RendezvousConf& conf, std::string_view key, std::string_view value, bool is_static) {
  const auto set_time = [&](std::optional<seconds>& target) -> Status {
    const auto number = python_integer(value);
    if (!number || *number <= 0 || *number > kLongest)
      return fail(Error::Kind::kRefused,
                  "--rdzv-conf: {}={} must be a positive whole number of seconds", key, value);
    target = seconds(*number);
    return {};
  };
  if (key == "join_timeout") return set_time(conf.join_timeout);
  if (key == "last_call_timeout") return set_time(conf.last_call_timeout);
  if (key == "timeout" && is_static) return set_time(conf.timeout);
  if (key == "heartbeat_timeout") return set_time(conf.heartbeat_timeout);
  if (key == "is_host") {
    conf.is_host = truth(value);
    if (!conf.is_host)
      return fail(Error::Kind::kRefused, "--rdzv-conf: is_host={} must be 1 or 0", value);
  }
  if (key == "store_type" && value != "tcp")
    return fail(Error::Kind::kRefused,
                "--rdzv-conf: store_type={} is not supported: the nodes meet over TCP only", value);
  return {};
}

}  // namespace

Result<RendezvousConf> parse_rendezvous_conf(std::string_view text, bool is_static) {
  RendezvousConf conf;
  text = trimmed(text);
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const size_t equals = pair.find('=');
    const std::string_view key = trimmed(pair.substr(0, equals));
    const std::string_view value = equals == pair.npos ? "" : trimmed(pair.substr(equals + 1));
    if (key.empty())
      return fail(Error::Kind::kRefused, "--rdzv-conf must have the form key=value,key=value");
    if (value.empty()) return fail(Error::Kind::kRefused, "--rdzv-conf: '{}' has no value", key);
    if (auto status = set(conf, key, value, is_static); !status)
      return fail(std::move(status).error());
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty())
      return fail(Error::Kind::kRefused, "--rdzv-conf must have the form key=value,key=value");
  }
  return conf;
}

Result<Endpoint> parse_rendezvous_endpoint(std::string_view text, int default_port) {
  text = trimmed(text);
  Endpoint endpoint{"localhost", default_port};
  if (text.empty()) return endpoint;
  std::string_view host = text;
  const bool only_address = text.front() == '[' && text.back() == ']';
  const size_t colon = only_address ? text.npos : text.rfind(':');
  if (colon != text.npos) {
    host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    const bool is_port = !digits.empty() && digits.size() <= 5 &&
                         digits.find_first_not_of("0123456789") == digits.npos;
    const auto port = is_port ? python_integer(digits) : std::nullopt;
    if (!port || *port > 65535)
      return fail(Error::Kind::kRefused,
                  "the port of the endpoint '{}' must be a number from 0 to 65535", text);
    endpoint.port = static_cast<int>(*port);
  }
  if (host.size() > 1 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == ':' || c == '-' || c >= 0x80;
  };
  if (host.empty() || !std::all_of(host.begin(), host.end(), allowed))
    return fail(Error::Kind::kRefused, "the host of the endpoint '{}' must be a name or an address",
                text);
  endpoint.host = host;
  return endpoint;
}

}  // namespace megalaunch
