#pragma once

#include <string_view>

namespace megalaunch {

/// launcher/results/report_page.html, compiled in. Holds kReportPageData once, where the data go as
/// JSON.
extern const std::string_view kReportPage;
inline constexpr std::string_view kReportPageData = "/*DATA*/";

}  // namespace megalaunch
