#pragma once

#include <map>
#include <string>
#include <string_view>

namespace megalaunch {

using TemplateValues = std::map<std::string, std::string, std::less<>>;

/// `${name}` and `$name` replaced by their values, `$$` by one dollar; what has no value stays as
/// it is. This is what torchrun does with script arguments (`${local_rank}`) and with
/// TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE: Python's Template.safe_substitute().
std::string fill_template(std::string_view text, const TemplateValues& values);

}  // namespace megalaunch
