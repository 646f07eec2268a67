#include "launcher/causes/tracebacks.h"

#include <algorithm>
#include <utility>

#include "launcher/causes/log_lines.h"
#include "launcher/causes/scan.h"
#include "launcher/causes/waiting_frames.h"

namespace megalaunch {
namespace {

/// The log may begin in the middle of it: "x/y.py", line 7, in f".
bool is_frame(std::string_view text) {
  const size_t line = text.find("\", line ");
  if (line == text.npos) return false;
  const std::string_view path = text.substr(0, line);
  return path.starts_with("File \"") ||
         (path.ends_with(".py") && path.find_first_of(" \"") == path.npos);
}

/// "Fi", "File "/a/b": the beginning of a frame.
bool is_begun_frame(std::string_view text) {
  constexpr std::string_view kStart = "File \"";
  return text.starts_with(kStart) || (text.size() >= 2 && kStart.starts_with(text));
}

/// A frame that does not tell of the program's own failure: one that waits for a process elsewhere,
/// and those of faulthandler ("line 7 in f") and of native code.
bool is_foreign(std::string_view frame) {
  return frame.find(", in ") == frame.npos || frame.find("<unknown>") != frame.npos ||
         waits_for_others(frame);
}

/// rich's "│ /x/y.py:7 in f": what is in the box, where it names a place.
bool is_boxed_frame(std::string_view text) {
  return text.find(".py:") != text.npos && text.find(" in ") != text.npos;
}

}  // namespace

std::optional<std::string_view> Tracebacks::cut_off() const {
  if (frame_ == kNone || complete_ || ignored_ || frames_.empty() ||
      std::any_of(frames_.begin(), frames_.end(), is_foreign) ||
      frames_.back().find("/runpy.py\"") != std::string_view::npos)
    return std::nullopt;
  std::string_view raised = last_;
  scan::take_blanks(raised);
  if (scan::take(raised, "raise ")) {
    raised = raised.substr(0, raised.find_first_of("( "));
    if (is_exception(raised)) return raised;
  }
  if (scan::take(raised, "assert ")) return "AssertionError";
  if (chained_) return std::nullopt;
  return std::string_view();
}

Tracebacks::Part Tracebacks::read(std::string_view text) {
  last_ = text;
  if (text.starts_with("Exception ignored in")) ignored_ = true;
  const Part part = read_line(text);
  if (part == Part::kException) complete_ = true;
  chained_ = joins_tracebacks(text) || (chained_ && part != Part::kException);
  // Python goes on: what a finalizer raised ends nobody.
  if (part == Part::kException && std::exchange(ignored_, false)) return Part::kQuoted;
  return part;
}

Tracebacks::Part Tracebacks::read_line(std::string_view text) {
  const size_t indent = std::min(text.find_first_not_of(' '), text.size());
  const bool boxed = is_boxed(text);
  const bool frame = is_frame(text.substr(indent));
  if (frame || boxed || starts_traceback(text))
    if (std::exchange(complete_, false)) frames_.clear();
  if ((frame || (boxed && is_boxed_frame(text))) && frames_.size() < kMaxFrames)
    frames_.push_back(text);
  if (boxed) return Part::kQuoted;
  if (frame) {
    frame_ = indent;
    behind_frame_ = true;
    return Part::kQuoted;
  }
  // Some collectors strip the indentation: then the one line behind the frame's is code.
  const bool first = std::exchange(behind_frame_, false);
  const bool in_frames = frame_ != kNone;
  if (in_frames && (indent > frame_ || (first && !is_exception(text)))) {
    code_ = text.substr(indent);
    return Part::kQuoted;
  }
  // Another rank's code, which has lost its indentation to this one's.
  if (in_frames && !code_.empty() && text.substr(indent) == code_) return Part::kQuoted;
  // The log may have been cut within a frame's line.
  if (in_frames && is_begun_frame(text.substr(indent))) return Part::kQuoted;
  frame_ = kNone;
  if (!is_exception(text, in_frames)) return Part::kOutside;
  // An exception without frames of its own, such as one in a launcher's report.
  if (complete_) frames_.clear();
  return Part::kException;
}

}  // namespace megalaunch
