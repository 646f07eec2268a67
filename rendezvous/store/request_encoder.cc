#include "rendezvous/store/request_encoder.h"

namespace megalaunch {

void encode_request(std::string& to, Dialect dialect, Operation operation,
                    std::span<const std::string_view> strings, int64_t number) {
  to.push_back(static_cast<char>(opcode_of(dialect, operation).value()));
  size_t next = 0;
  for (const char field : fields_of(operation)) {
    switch (field) {
      case 'S':
      case 'V':
        append_counted(to, strings[next++]);
        break;
      case 'I':
        append_little<int64_t>(to, number);
        break;
      case 'W':
        append_little<uint32_t>(to, static_cast<uint32_t>(number));
        break;
      default:  // N or P
        append_little<uint64_t>(to, field == 'P' ? strings.size() / 2 : strings.size());
        for (const auto string : strings) append_counted(to, string);
        break;
    }
  }
}

std::string encode_request(Dialect dialect, Operation operation,
                           std::initializer_list<std::string_view> strings, int64_t number) {
  std::string bytes;
  encode_request(bytes, dialect, operation, std::span(strings.begin(), strings.size()), number);
  return bytes;
}

}  // namespace megalaunch
