#include "launcher/causes/failure_report.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using Json = nlohmann::json;

std::string time_text(WallTime time) {
  const auto whole = std::chrono::floor<seconds>(time);
  const auto rest = std::chrono::duration_cast<milliseconds>(time - whole).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), rest);
}

double in_milliseconds(nanoseconds time) {
  return static_cast<double>(time.count()) / 1e6;
}

/// Log text in a report must not break the terminal or the JSON.
std::string printable(std::string_view text) {
  std::string result;
  for (const char c : valid_utf8(text))
    if (c == '\t' || static_cast<unsigned char>(c) >= 0x20) result += c;
  return result;
}

std::string place(const Evidence& one) {
  std::string text = fmt::format("rank {} (node {}", one.rank, one.node_rank);
  if (!one.host.empty()) text += fmt::format(", host {}", one.host);
  text += fmt::format(", local rank {}", one.local_rank);
  if (one.pid > 0) text += fmt::format(", pid {}", one.pid);
  return text + ')';
}

size_t count_stopped(std::span<const Evidence> evidence) {
  return static_cast<size_t>(std::count_if(evidence.begin(), evidence.end(),
                                           [](const Evidence& one) { return one.stopped_by_us; }));
}

/// "1, 2, 5-7 and 12 more"
std::string list_ranks(std::span<const Evidence> evidence, const std::vector<size_t>& indices) {
  std::vector<int> ranks;
  for (const size_t index : indices) ranks.push_back(evidence[index].rank);
  std::sort(ranks.begin(), ranks.end());
  std::string text;
  size_t shown = 0;
  for (size_t i = 0; i < ranks.size();) {
    size_t j = i;
    while (j + 1 < ranks.size() && ranks[j + 1] == ranks[j] + 1) ++j;
    if (shown++ == 12) return text + fmt::format(" and {} more", ranks.size() - i);
    if (!text.empty()) text += ", ";
    text += i == j ? std::to_string(ranks[i]) : fmt::format("{}-{}", ranks[i], ranks[j]);
    i = j + 1;
  }
  return text;
}

Json rank_json(const Evidence& one) {
  return {{"node_rank", one.node_rank},
          {"host", printable(one.host)},
          {"rank", one.rank},
          {"local_rank", one.local_rank},
          {"pid", one.pid},
          {"end", to_json(one.end)},
          {"how", describe(one.end)},
          {"time", time_text(one.corrected())}};
}

Json list_json(std::span<const Evidence> evidence, const Verdict& verdict,
               const std::vector<size_t>& indices) {
  Json list = Json::array();
  for (const size_t index : indices) {
    Json one = rank_json(evidence[index]);
    one["text"] = printable(verdict.findings[index].text);
    list.push_back(std::move(one));
  }
  return list;
}

/// What the rank wrote last, for a failure whose own lines say nothing: at most `limit` lines.
std::vector<std::string> last_lines(std::string_view tail, size_t limit) {
  std::vector<std::string> lines;
  while (!tail.empty() && lines.size() < limit) {
    if (tail.ends_with('\n')) tail.remove_suffix(1);
    const size_t newline = tail.rfind('\n');
    const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    lines.insert(lines.begin(), std::string(tail.substr(begin)));
    tail = tail.substr(0, begin);
  }
  return lines;
}

}  // namespace

std::string report_text(const ReportFacts& facts, std::span<const Evidence> evidence,
                        const Verdict& verdict, const RestartDecision& decision) {
  std::string text;
  const auto out = std::back_inserter(text);
  fmt::format_to(out, "---- {}: generation {} failed ({} rank{} on {} node{}, {}) ----\n",
                 facts.job, facts.generation, facts.ranks, facts.ranks == 1 ? "" : "s", facts.nodes,
                 facts.nodes == 1 ? "" : "s", time_text(facts.ended));
  if (!verdict.first) {
    fmt::format_to(out, "No rank failed by itself.\nDecision: {}\n", decision.reason);
    return text;
  }
  const Evidence& first = evidence[*verdict.first];
  fmt::format_to(out, "First:    {}\n", place(first));
  fmt::format_to(out, "When:     {}, {}", time_text(first.corrected()), describe(first.end));
  if (first.node_rank != 0)
    fmt::format_to(out, " (clock of node {}: {:+.1f} ms, known to {:.1f} ms)", first.node_rank,
                   in_milliseconds(first.clock_offset), in_milliseconds(first.clock_uncertainty));
  fmt::format_to(out, "\nWhy:      {}{}{}\n          {}\n", to_string(verdict.kind),
                 verdict.rule.empty() ? "" : fmt::format(" (rule {})", verdict.rule),
                 verdict.certain ? "" : ", not certain", printable(verdict.text));
  if (!verdict.lines.empty()) {
    text += "Lines:\n";
    for (const std::string& line : verdict.lines) fmt::format_to(out, "  | {}\n", printable(line));
  }
  // With a traceback or a deciding line the reader has what matters; else the end of stderr is the
  // best there is.
  if (verdict.lines.empty() && !first.stderr_tail.empty()) {
    text += "Last lines of its stderr:\n";
    for (const std::string& line : last_lines(first.stderr_tail, 10))
      fmt::format_to(out, "  | {}\n", printable(line));
  }
  if (!verdict.alike.empty())
    fmt::format_to(out, "Alike:    {} more failed of the same: rank {}\n", verdict.alike.size(),
                   list_ranks(evidence, verdict.alike));
  if (!verdict.victims.empty())
    fmt::format_to(out, "Victims:  {} more failed because of it: rank {}\n", verdict.victims.size(),
                   list_ranks(evidence, verdict.victims));
  if (const size_t stopped = count_stopped(evidence); stopped > 0)
    fmt::format_to(out, "Stopped:  {} healthy {} stopped\n", stopped,
                   stopped == 1 ? "rank was" : "ranks were");
  fmt::format_to(out, "Decision: {}\n", decision.reason);
  if (!verdict.advice.empty()) fmt::format_to(out, "Advice:   {}\n", verdict.advice);
  if (!facts.log_dir.empty()) fmt::format_to(out, "Logs:     {}\n", facts.log_dir);
  return text;
}

nlohmann::json report_json(const ReportFacts& facts, std::span<const Evidence> evidence,
                           const Verdict& verdict, const RestartDecision& decision) {
  const auto* retry = std::get_if<Retry>(&decision.action);
  Json json{{"job", facts.job},
            {"run_id", facts.run_id},
            {"generation", facts.generation},
            {"nodes", facts.nodes},
            {"ranks", facts.ranks},
            {"time", time_text(facts.ended)},
            {"kind", to_string(verdict.kind)},
            {"rule", verdict.rule},
            {"certain", verdict.certain},
            {"retry", retry != nullptr},
            {"reason", decision.reason},
            {"advice", verdict.advice},
            {"victims", list_json(evidence, verdict, verdict.victims)},
            {"alike", list_json(evidence, verdict, verdict.alike)},
            {"stopped", count_stopped(evidence)},
            {"first", nullptr}};
  if (retry != nullptr) {
    json["retry_after_ms"] = retry->after.count();
  } else {
    json["exit_code"] = std::get<End>(decision.action).exit_code;
  }
  if (verdict.first) {
    const Evidence& first = evidence[*verdict.first];
    Json one = rank_json(first);
    one["clock_offset_ms"] = in_milliseconds(first.clock_offset);
    one["clock_uncertainty_ms"] = in_milliseconds(first.clock_uncertainty);
    one["text"] = printable(verdict.text);
    one["lines"] = Json::array();
    for (const std::string& line : verdict.lines) one["lines"].push_back(printable(line));
    json["first"] = std::move(one);
  }
  return json;
}

}  // namespace megalaunch
