#include "launcher/causes/restart_policy.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "env/exit_code.h"
#include "launcher/causes/verdict.h"

namespace megalaunch {
namespace {

std::string describe_progress(const TrainingProgress& progress) {
  if (progress.iteration && progress.checkpoint)
    return fmt::format("iteration {}, checkpoint {}", *progress.iteration, *progress.checkpoint);
  if (progress.iteration) return fmt::format("iteration {}", *progress.iteration);
  if (progress.checkpoint) return fmt::format("checkpoint {}", *progress.checkpoint);
  return "no iteration";
}

/// The kind's retries and conditions, after the job file has had its say. A rule that says "never"
/// stays at that.
RetryHabit habit_of(const Verdict& verdict, const RestartLimits& limits) {
  RetryHabit habit = verdict.habit;
  const auto asked = limits.per_kind.find(verdict.kind);
  if (habit.pinned || asked == limits.per_kind.end()) return habit;
  habit.retries = asked->second;
  habit.needs_progress = false;
  return habit;
}

milliseconds delay(const RestartLimits& limits, int earlier_restarts) {
  milliseconds after = limits.backoff;
  for (int i = 0; i < earlier_restarts && after < limits.backoff_cap; ++i) after *= 2;
  return std::min(after, std::max(limits.backoff, limits.backoff_cap));
}

/// RestartLimits::any_cause.
RestartDecision decide_by_count(const RestartLimits& limits, const RankEnd& first_end,
                                RestartDecision decision) {
  RestartHistory& history = decision.history;
  if (history.restarts < limits.max) {
    decision.action = Retry{milliseconds(0)};
    decision.reason = fmt::format("restart {} of {}", ++history.restarts, limits.max);
    return decision;
  }
  int code = 1;
  if (const auto* exited = std::get_if<Exited>(&first_end)) code = std::max(exited->code, 1);
  if (const auto* signaled = std::get_if<Signaled>(&first_end))
    code = exit_code_of_signal(signaled->signal);
  decision.action = End{code};
  decision.reason = limits.max == 0 ? "no restarts were asked for: the job ends"
                                    : fmt::format("all {} restarts are used up", limits.max);
  return decision;
}

}  // namespace

int own_exit_code(const RankEnd& end) {
  const auto* exited = std::get_if<Exited>(&end);
  return exited != nullptr && exited->code >= 1 && exited->code <= 127 ? exited->code : 1;
}

bool worth_retrying(const Verdict& verdict, const RestartLimits& limits) {
  const RetryHabit habit = habit_of(verdict, limits);
  return habit.retries > 0 && (!habit.needs_progress || verdict.made_progress);
}

RestartDecision decide_restart(const RestartLimits& limits, const RestartHistory& history,
                               const Verdict& verdict, const RankEnd& first_end,
                               const TrainingProgress& progress) {
  RestartDecision decision{End{}, "", history};
  RestartHistory& next = decision.history;
  next.furthest = furthest(progress, history.furthest);
  const bool advanced = next.furthest != history.furthest;
  if (advanced) {
    next.since_progress = 0;
    next.per_kind.clear();
  }
  const bool repeated =
      !advanced && !history.last_signature.empty() && history.last_signature == verdict.signature;
  next.last_signature = verdict.signature;

  if (limits.any_cause) return decide_by_count(limits, first_end, std::move(decision));
  const RetryHabit habit = habit_of(verdict, limits);
  const std::string kind(to_string(verdict.kind));
  const auto end = [&](int code, std::string reason) {
    decision.action = End{code};
    decision.reason = std::move(reason);
    return decision;
  };
  if (habit.retries == 0)
    return end(own_exit_code(first_end),
               fmt::format("another attempt does not cure this ({}): the job ends", kind));
  if (repeated && habit.repeat_ends)
    return end(own_exit_code(first_end),
               fmt::format(
                   "the same failure ({}) came back without progress in between ({}): the job ends",
                   kind, describe_progress(next.furthest)));
  if (habit.needs_progress && !verdict.made_progress && !advanced)
    return end(own_exit_code(first_end),
               fmt::format("the attempt failed ({}) before its first iteration, so it would fail "
                           "again: the job ends",
                           kind));
  if (limits.lifetime && history.restarts >= *limits.lifetime)
    return end(kExitRetriesSpent,
               fmt::format("all {} restarts of the job's lifetime are used up", *limits.lifetime));
  if (next.since_progress >= limits.max)
    return end(kExitRetriesSpent,
               fmt::format("{} of {} restarts are used up without progress since {}",
                           next.since_progress, limits.max, describe_progress(next.furthest)));
  int& of_kind = next.per_kind[verdict.kind];
  if (of_kind >= habit.retries)
    return end(kExitRetriesSpent,
               fmt::format("{} of {} restarts for {} are used up without progress since {}",
                           of_kind, habit.retries, kind, describe_progress(next.furthest)));
  const milliseconds after = delay(limits, next.since_progress);
  ++of_kind;
  ++next.since_progress;
  ++next.restarts;
  decision.action = Retry{after};
  decision.reason = fmt::format(
      "another attempt can cure this ({}): restart {} of {} without progress ({} of {} for the "
      "kind), in {:.1f} s",
      kind, next.since_progress, limits.max, of_kind, habit.retries,
      static_cast<double>(after.count()) / 1000);
  return decision;
}

nlohmann::json to_json(const RestartHistory& history) {
  nlohmann::json json{{"restarts", history.restarts},
                      {"since_progress", history.since_progress},
                      {"per_kind", nlohmann::json::object()},
                      {"last_signature", history.last_signature}};
  for (const auto& [kind, count] : history.per_kind)
    json["per_kind"][std::string(to_string(kind))] = count;
  if (history.furthest.iteration) json["iteration"] = *history.furthest.iteration;
  if (history.furthest.checkpoint) json["checkpoint"] = *history.furthest.checkpoint;
  return json;
}

Result<RestartHistory> restart_history_from_json(const nlohmann::json& json) {
  const auto bad = [](std::string_view key) {
    return fail(Error::Kind::kProtocol,
                "restart history: '{}' is missing, ill-typed or out of range", key);
  };
  if (!json.is_object()) return bad("(whole)");
  const auto count = [](const nlohmann::json& object,
                        const std::string& key) -> std::optional<int64_t> {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_integer()) return std::nullopt;
    const auto value = found->get<int64_t>();
    return value >= 0 ? std::optional(value) : std::nullopt;
  };
  const auto small = [&](const nlohmann::json& object,
                         const std::string& key) -> std::optional<int> {
    const auto value = count(object, key);
    if (!value || *value > std::numeric_limits<int>::max() / 2) return std::nullopt;
    return static_cast<int>(*value);
  };
  RestartHistory history;
  const auto restarts = small(json, "restarts");
  const auto since_progress = small(json, "since_progress");
  if (!restarts) return bad("restarts");
  if (!since_progress) return bad("since_progress");
  history.restarts = *restarts;
  history.since_progress = *since_progress;
  const auto per_kind = json.find("per_kind");
  if (per_kind == json.end() || !per_kind->is_object()) return bad("per_kind");
  for (const auto& [name, value] : per_kind->items()) {
    const auto kind = parse_cause_kind(name);
    const auto used = small(*per_kind, name);
    if (!kind || !used) return bad("per_kind");
    history.per_kind[*kind] = *used;
  }
  const auto signature = json.find("last_signature");
  if (signature == json.end() || !signature->is_string()) return bad("last_signature");
  history.last_signature = signature->get<std::string>();
  history.furthest = {count(json, "iteration"), count(json, "checkpoint")};
  return history;
}

}  // namespace megalaunch
