#include "launcher/causes/line_label.h"

#include <algorithm>

#include "launcher/causes/scan.h"

namespace megalaunch {
namespace {

using namespace scan;

/// After a prefix at most one blank belongs to it: a traceback's indentation must survive.
void take_blank(std::string_view& text) {
  if (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

bool take_colour(std::string_view& text) {
  if (!text.starts_with("\x1b[")) return false;
  const size_t end = text.find_first_not_of("0123456789;", 2);
  if (end == std::string_view::npos) return false;
  text.remove_prefix(end + 1);
  return true;
}

/// Of a second: ".123456" or ",123".
void take_fraction(std::string_view& text) {
  if (!take(text, ".") && !take(text, ",")) return;
  while (!text.empty() && digit(text.front())) text.remove_prefix(1);
}

/// "2024-11-07T16:27:21.123456Z ", "2024-11-07 16:27:21,123 ", also in brackets: the time that a
/// collector put first.
bool take_time(std::string_view& text) {
  std::string_view rest = text;
  const bool bracket = take(rest, "[");
  if (!take_shape(rest, "0000-00-00?00:00:00") && !take_shape(rest, "0000/00/00 00:00:00"))
    return false;
  take_fraction(rest);
  if (!take(rest, "Z")) take_shape(rest, "+00:00");
  if (bracket && !take(rest, "]")) return false;
  take(rest, ":");
  if (rest.empty()) return false;
  if (!take(rest, " ") && !take(rest, "\t")) return false;
  // Kubernetes: "<time> stdout F <text>".
  for (const std::string_view stream : {"stdout F ", "stderr F ", "stdout P ", "stderr P "})
    take(rest, stream);
  text = rest;
  return true;
}

/// "18:11:06.680 text": a collector's time without a day.
bool take_time_of_day(std::string_view& text) {
  std::string_view rest = text;
  if (!take_shape(rest, "00:00:00")) return false;
  take_fraction(rest);
  if (!take(rest, " ")) return false;
  text = rest;
  return true;
}

/// "Nov 24 19:35:25 gpu-1 python[123]: text", also without host and program: a system's log.
bool take_system_time(std::string_view& text, LineLabel& label) {
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  constexpr size_t kLength = 16;  // "Nov 24 19:35:25 "
  if (text.size() < kLength || text[3] != ' ' || text[6] != ' ' || text[9] != ':' ||
      text[12] != ':' || text[15] != ' ')
    return false;
  const size_t month = kMonths.find(text.substr(0, 3));
  if (month == kMonths.npos || month % 3 != 0) return false;
  for (const size_t at : {5, 7, 8, 10, 11, 13, 14})
    if (!digit(text[at])) return false;
  text.remove_prefix(kLength);
  const size_t host = std::min(text.find(' '), text.size());
  const std::string_view program = text.substr(std::min(host + 1, text.size()));
  const size_t end = program.find(": ");
  if (end == program.npos || program.substr(0, end).find(' ') != program.npos ||
      !(program.starts_with("kernel: ") || program.substr(0, end).ends_with(']')))
    return true;
  label.node = std::string(text.substr(0, host));
  text = program.substr(end + 2);
  return true;
}

/// vLLM: "ERROR 03-05 00:25:45 [core.py:1094] text", before each line of a traceback.
bool take_error_level(std::string_view& text) {
  std::string_view rest = text;
  if (!take(rest, "ERROR ") || rest.size() < 15 || !digit(rest.front()) || rest[2] != '-' ||
      rest[8] != ':')
    return false;
  const size_t place = rest.substr(0, 96).find("] ");
  if (place == rest.npos || rest.substr(0, place).find(".py:") == rest.npos) return false;
  text = rest.substr(place + 2);
  return true;
}

/// Python's logging behind a time: "- trainer - ERROR - text", and a launcher's logger that relays
/// its ranks' lines: "- trainer - INFO - [rank0]: text".
bool take_logger(std::string_view& text) {
  std::string_view rest = text;
  if (!take(rest, "- ")) return false;
  const size_t end = rest.substr(0, 64).find(" - ");
  if (end == rest.npos || rest.substr(0, end).find(' ') != rest.npos) return false;
  rest.remove_prefix(end + 3);
  const bool error = take(rest, "ERROR - ") || take(rest, "CRITICAL - ");
  if (!error && !((take(rest, "INFO - ") || take(rest, "WARNING - ")) && rest.starts_with("[rank")))
    return false;
  text = rest;
  return true;
}

bool name_character(char c) {
  return word(c) || c == '-' || c == '.';
}

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), name_character);
}

/// Takes "rank", with what may stand between it and its number.
bool take_rank_word(std::string_view& text) {
  if (!take(text, "rank") && !take(text, "Rank") && !take(text, "RANK")) return false;
  if (!text.empty() && std::string_view(" =_-").find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  return true;
}

/// All of `text` as a number.
std::optional<int> whole_number(std::string_view text) {
  const auto number = take_number(text);
  return text.empty() ? number : std::nullopt;
}

/// "node-1:3", "10.0.0.1:rank3", "node1 rank3", "node1/rank3".
bool read_node_and_rank(std::string_view inside, LineLabel& found) {
  const size_t separator = inside.find_last_of(": /");
  if (separator == inside.npos || !is_name(inside.substr(0, separator))) return false;
  std::string_view rank = inside.substr(separator + 1);
  if (!take_rank_word(rank)) {
    // Open MPI writes "[host:00123]", the process's number.
    constexpr size_t kRankDigits = 4;
    if (inside[separator] != ':' || rank.size() > kRankDigits) return false;
  }
  found.rank = whole_number(rank);
  found.node = std::string(inside.substr(0, separator));
  return found.rank.has_value();
}

/// What stands between the brackets at a line's start; `rest` is what follows them.
bool read_bracket(std::string_view inside, std::string_view rest, LineLabel& found) {
  if (std::string_view rank = inside; take_rank_word(rank)) {
    found.rank = whole_number(rank);
    return found.rank.has_value();
  }
  if (const auto rank = whole_number(inside)) {
    // "[1] NCCL INFO" is a device, "[3]:" a rank, unless it stands alone: torchrun numbers its
    // report's blocks so.
    found.rank = rank;
    return rest.starts_with(':') && rest.size() > 1;
  }
  if (const size_t comma = inside.find(','); comma != inside.npos) {  // mpirun: [job,rank]<stream>:
    found.rank = whole_number(inside.substr(comma + 1));
    return found.rank && whole_number(inside.substr(0, comma)) && rest.starts_with('<');
  }
  if (inside.starts_with("pod/")) {  // kubectl logs --prefix
    found.node = std::string(inside);
    return true;
  }
  if (!is_name(inside)) return read_node_and_rank(inside, found);
  // torchrun: role and local rank.
  const size_t digits = inside.find_last_not_of("0123456789") + 1;
  if (digits == 0 || !rest.starts_with(':')) return false;
  found.local_rank = whole_number(inside.substr(digits));
  return found.local_rank.has_value();
}

/// "[default3]:", "[rank3]:", "[3]:", "[1:3]", "[node1:rank3]", "[1,3]<stderr>:", "[Rank 3]".
bool take_bracket(std::string_view& text, LineLabel& label) {
  if (!text.starts_with('[')) return false;
  const size_t close = text.substr(0, 128).find(']');
  if (close == std::string_view::npos) return false;
  std::string_view rest = text.substr(close + 1);
  LineLabel found;
  if (!read_bracket(text.substr(1, close - 1), rest, found)) return false;
  if (rest.starts_with('<')) {
    const size_t end = rest.find('>');
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
  take(rest, ":");
  take_blank(rest);
  text = rest;
  if (found.rank) label.rank = found.rank;
  if (found.local_rank) label.local_rank = found.local_rank;
  if (!found.node.empty()) label.node = found.node;
  return true;
}

/// "rank 3: text", "rank3| text", "(rank 3) text".
bool take_spoken_rank(std::string_view& text, LineLabel& label) {
  std::string_view rest = text;
  const bool parenthesis = take(rest, "(");
  if (!take_rank_word(rest)) return false;
  const auto rank = take_number(rest);
  if (!rank) return false;
  if (parenthesis) {
    if (!take(rest, ")")) return false;
  } else if (!take(rest, ": ") && !take(rest, "| ") && !take(rest, " | ")) {
    return false;
  }
  label.rank = rank;
  text = rest;
  if (parenthesis) take_blank(text);
  return true;
}

/// torchx: "train/1 text", role and replica.
bool take_replica(std::string_view& text, LineLabel& label) {
  size_t end = 0;
  while (end < text.size() && end < 64 && name_character(text[end])) ++end;
  if (end == 0 || !letter(text.front()) || end == text.size() || text[end] != '/') return false;
  std::string_view rest = text.substr(end + 1);
  const auto replica = take_number(rest);
  if (!replica || rest.size() < 2 || rest.front() != ' ') return false;
  label.node = std::string(text.substr(0, text.size() - rest.size()));
  take_blank(rest);
  text = rest;
  return true;
}

/// milabench: "llama.node-1 [stderr] text".
bool take_named_stream(std::string_view& text, LineLabel& label) {
  const size_t end = std::min(text.substr(0, 64).find(' '), text.size());
  std::string_view rest = text.substr(end);
  if (!is_name(text.substr(0, end)) || !(take(rest, " [stderr] ") || take(rest, " [stdout] ")))
    return false;
  label.node = std::string(text.substr(0, end));
  text = rest;
  return true;
}

/// "10.0.0.7"
bool is_address(std::string_view name) {
  int numbers = 0;
  for (;; name.remove_prefix(1)) {
    const auto number = take_number(name);
    if (!number || *number > 255) return false;
    ++numbers;
    if (name.empty() || name.front() != '.') break;
  }
  return name.empty() && numbers == 4;
}

/// "node1", "gpu1504": how hosts are called that are many.
bool is_host(std::string_view name) {
  return name.size() > 1 && digit(name.back()) && !digit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return digit(c) || (c >= 'a' && c <= 'z'); });
}

/// srun's "3: text" and pdsh's "worker-1: text", "node1: text". A name must hold a digit after a
/// dash or at its end, else "ValueError: " would be one; or be an address.
bool take_bare(std::string_view& text, LineLabel& label) {
  size_t end = 0;
  while (end < text.size() && end < 64 && name_character(text[end])) ++end;
  const std::string_view name = text.substr(0, end);
  std::string_view rest = text.substr(end);
  const size_t dash = name.rfind('-');
  const bool numbered =
      dash != name.npos && dash > 0 && whole_number(name.substr(dash + 1)).has_value();
  if (numbered && rest.substr(0, 24).find_first_not_of(' ') != rest.npos) {
    // docker compose: "worker-1  | text"
    std::string_view bar = rest;
    take_blanks(bar);
    if (take(bar, "| ")) {
      label.node = std::string(name);
      text = bar;
      return true;
    }
  }
  if (name.empty() || !take(rest, ":") || (!rest.empty() && rest.front() != ' ')) return false;
  if (const auto rank = whole_number(name)) {
    if (name.size() > 6) return false;
    label.rank = rank;
  } else if (is_address(name) || is_host(name) ||
             (dash != name.npos && dash > 0 && dash + 1 < name.size() && digit(name[dash + 1]))) {
    label.node = std::string(name);
  } else {
    return false;
  }
  take_blank(rest);
  text = rest;
  return true;
}

/// " [rank3]:", behind which a collector's own prefix stood, or that was indented with all its
/// lines, "   | [rank3]:", which one has put into a list, and srun's "  3: text", whose numbers
/// stand in a column.
bool take_padded(std::string_view& text, LineLabel& label) {
  const size_t blanks = text.substr(0, 16).find_first_not_of(" \t");
  if (blanks == 0 || blanks == text.npos) return false;
  std::string_view rest = text.substr(blanks);
  const bool listed = take(rest, "| ");
  const bool bracketed = blanks == 1 || rest.starts_with("[rank");
  if (listed ? !take_bracket(rest, label)
             : !(bracketed && take_bracket(rest, label)) &&
                   !(blanks < 6 && digit(rest.front()) && take_bare(rest, label)))
    return false;
  text = rest;
  return true;
}

/// Ray's "(Worker pid=7, ip=10.0.0.1) text" and "(raylet) text", vLLM's "(VllmWorker rank=2 pid=7)
/// text", NeMo RL's "(MegatronPolicyWorker[rank=8] pid=7, ip=10.0.0.1) text".
bool take_ray(std::string_view& text, LineLabel& label) {
  if (!text.starts_with('(')) return false;
  const size_t close = text.substr(0, 128).find(')');
  if (close == std::string_view::npos) return false;
  const std::string_view inside = text.substr(1, close - 1);
  if (inside.find(" pid=") == inside.npos && !inside.starts_with("raylet")) return false;
  label.node = std::string(inside);
  if (const size_t at = inside.find("rank=");
      at != inside.npos && at > 0 && (inside[at - 1] == ' ' || inside[at - 1] == '[')) {
    std::string_view number = inside.substr(at + 5);
    if (const auto rank = take_number(number)) label.rank = rank;
  }
  text.remove_prefix(close + 1);
  take_blank(text);
  return true;
}

/// "  | 2024-08-23T22:22:58.879Z | text": a row of a table whose first column is the time.
bool take_row(std::string_view& text) {
  std::string_view rest = text;
  take_blanks(rest);
  if (!take(rest, "| ")) return false;
  const size_t end = rest.substr(0, 40).find(" | ");
  if (end == rest.npos || end < 8 || !digit(rest.front())) return false;
  const std::string_view time = rest.substr(0, end);
  if (time.find_first_not_of("0123456789-:.,TZ+ ") != time.npos) return false;
  text = rest.substr(end + 3);
  return true;
}

}  // namespace

LineLabel take_prefixes(std::string_view& text) {
  LineLabel label;
  // Each turn takes at least one byte; a handful of prefixes is all that real lines have.
  for (int turn = 0; turn < 8; ++turn) {
    while (take_colour(text)) {
    }
    if (turn == 0 && (take_row(text) || take_padded(text, label) || take(text, "> "))) continue;
    if (take_time(text) || take_time_of_day(text) || take_system_time(text, label) ||
        take_bracket(text, label) || take_ray(text, label) || take_spoken_rank(text, label) ||
        take_error_level(text) || take_logger(text))
      continue;
    if (turn < 3 &&
        (take_bare(text, label) || take_replica(text, label) || take_named_stream(text, label) ||
         take(text, "stderr: ") || take(text, "stdout: ")))
      continue;
    break;
  }
  return label;
}

}  // namespace megalaunch
