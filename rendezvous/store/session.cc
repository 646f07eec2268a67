#include "rendezvous/store/session.h"

#include <utility>

namespace megalaunch {
namespace {

// Replies are sent once there are so many, so that a pipelining peer that reads nothing cannot pile
// them up.
constexpr size_t kOutputPause = 1 << 20;
// How much of LIST_KEYS is collected, or sent, before others have their turn.
constexpr size_t kPageBytes = 64 * 1024;

}  // namespace

Session::Session(std::shared_ptr<KeySpace> keys, const StoreLimits& limits,
                 std::optional<Dialect> expected, Ticket self, Wakeups& wakeups)
    : keys_(std::move(keys)),
      limits_(&limits),
      wakeups_(&wakeups),
      decoder_(limits, expected),
      self_(self) {}

Session::~Session() {
  forget_wait();
  Ticket watcher = self_;
  watcher.wait = 0;
  for (const auto& key : watched_) keys_->unwatch(key, watcher);
}

void Session::forget_wait() {
  if (!std::exchange(waiting_, false)) return;
  keys_->cancel(wait_);
}

Ticket Session::next_wait() {
  ++self_.wait;
  return self_;
}

void Session::wake(const Ticket& ticket, std::string& out) {
  if (!waiting_ || ticket != self_) return;
  waiting_ = false;
  keys_->finish(wait_);
  if (listing_)
    listing_->owes_stop = true;
  else
    out.push_back(kStopWaiting);
}

Session::Progress Session::receive(std::string_view bytes, std::string& out) {
  size_t consumed = 0;
  for (;;) {
    if (listing_) {
      if (const Stop stop = go_on_listing(out); stop != Stop::kNeedMore) return {stop, consumed};
    }
    if (out.size() >= kOutputPause && consumed < bytes.size()) return {Stop::kOutputFull, consumed};
    switch (decoder_.decode(bytes.substr(consumed))) {
      case FrameDecoder::State::kNeedMore:
        return {Stop::kNeedMore, consumed};
      case FrameDecoder::State::kAmbiguous:
        return {Stop::kAmbiguous, consumed};
      case FrameDecoder::State::kRefused:
        refusal_ = decoder_.refusal();
        return {Stop::kRefused, consumed};
      case FrameDecoder::State::kRequest:
        break;
    }
    consumed += decoder_.frame_bytes();
    ++operations_;
    if (const auto done = execute(decoder_.request(), out); !done) {
      refusal_ = done.error();
      return {Stop::kRefused, consumed};
    }
  }
}

Outcome<void> Session::execute(const Request& request, std::string& out) {
  // A legacy client cannot cancel: a new request says that it has given the wait up. The others do
  // cancel, and what they send while they wait is executed beside the wait.
  if (waiting_ && decoder_.dialect() != Dialect::kMagic) forget_wait();

  switch (request.operation) {
    case Operation::kValidate:
      return {};
    case Operation::kPing:
      append_little(out, request.word);
      return {};
    case Operation::kSet:
      return keys_->set(request.key, request.value, *wakeups_);
    case Operation::kCompareSet: {
      const auto compared =
          keys_->compare_set(request.key, request.value, request.desired, *wakeups_);
      if (!compared) return refuse(compared.error());
      // A missing key that was expected to have a value: torch answers with what was expected.
      append_counted(out, compared->stored    ? request.desired
                          : compared->current ? compared->current.view()
                                              : request.value);
      return {};
    }
    case Operation::kGet:
      append_counted(out, keys_->get(request.key).view());
      return {};
    case Operation::kAdd: {
      const auto sum = keys_->add(request.key, request.number, *wakeups_);
      if (!sum) return refuse(sum.error());
      append_little(out, *sum);
      return {};
    }
    case Operation::kCheck:
      out.push_back(keys_->check(request.list) ? kReady : kNotReady);
      return {};
    case Operation::kWait:
      forget_wait();
      return park_or_answer(keys_->wait(request.list, wait_, next_wait()), out);
    case Operation::kBarrier:
      forget_wait();
      return park_or_answer(
          keys_->barrier(request.key, request.number, wait_, next_wait(), *wakeups_), out);
    case Operation::kCancelWait:
      forget_wait();
      out.push_back(kWaitCanceled);
      return {};
    case Operation::kKeyCount:
      append_little(out, keys_->size());
      return {};
    case Operation::kDelete:
      append_little<int64_t>(out, keys_->erase(request.key, *wakeups_) ? 1 : 0);
      return {};
    case Operation::kAppend:
      return keys_->append(request.key, request.value, *wakeups_);
    case Operation::kMultiGet:
      return multi_get(request.list, out);
    case Operation::kMultiSet:
      return keys_->multi_set(request.list, *wakeups_);
    case Operation::kQueuePush:
      return keys_->queue_push(request.key, request.value, *wakeups_);
    case Operation::kQueuePop: {
      const auto popped = keys_->queue_pop(request.key);
      append_little(out, popped.size_before);
      if (popped.size_before > 0) append_counted(out, popped.value.view());
      return {};
    }
    case Operation::kQueueLength:
      append_little(out, keys_->queue_length(request.key));
      return {};
    case Operation::kListKeys:
      listing_ = std::make_unique<Listing>();
      return {};
    case Operation::kWatchKey:
      return watch(request.key, out);
  }
  return refuse(Refusal::kUnknownOpcode);
}

Outcome<void> Session::park_or_answer(const Outcome<bool>& done, std::string& out) {
  if (!done) return refuse(done.error());
  waiting_ = !*done;
  if (*done) out.push_back(kStopWaiting);
  return {};
}

Outcome<void> Session::multi_get(const FieldList& keys, std::string& out) {
  const auto values = keys_->multi_get(keys);
  size_t total = 0;
  for (const Blob& value : values) total += sizeof(uint64_t) + value.view().size();
  if (total > limits_->queued_bytes) return refuse(Refusal::kReplyTooLong);
  for (const Blob& value : values) append_counted(out, value.view());
  return {};
}

/// Some tables more, in a page of their own. Leaves `scratch` as it was.
Outcome<void> Session::collect(std::string& scratch) {
  const size_t start = scratch.size();
  while (listing_->next_table < KeySpace::kTables && scratch.size() - start < kPageBytes)
    listing_->count += keys_->list_keys(listing_->next_table++, scratch);
  const std::string_view page = std::string_view(scratch).substr(start);
  listing_->bytes += page.size();
  const bool fits = listing_->bytes + sizeof(int64_t) <= limits_->queued_bytes;
  if (fits) listing_->pages.push_back(keys_->keep(page));
  scratch.resize(start);
  if (!fits) return refuse(Refusal::kReplyTooLong);
  if (!listing_->pages.back()) return refuse(Refusal::kOutOfMemory);
  return {};
}

/// kNeedMore: the listing is done, or it never was.
Session::Stop Session::go_on_listing(std::string& out) {
  if (listing_->next_table < KeySpace::kTables) {
    if (const auto collected = collect(out); !collected) {
      refusal_ = collected.error();
      listing_.reset();
      return Stop::kRefused;
    }
    if (listing_->next_table < KeySpace::kTables) return Stop::kMoreWork;
    append_little(out, listing_->count);
  }
  out.append(std::exchange(listing_->pages[listing_->next_page++], {}).view());
  if (listing_->next_page < listing_->pages.size()) return Stop::kOutputFull;
  if (listing_->owes_stop) out.push_back(kStopWaiting);
  listing_.reset();
  return Stop::kNeedMore;
}

Outcome<void> Session::watch(std::string_view key, std::string& out) {
  if (watched_.size() >= limits_->count) return refuse(Refusal::kTooManyKeys);
  Ticket watcher = self_;
  watcher.wait = 0;
  if (const auto watching = keys_->watch(key, watcher); !watching) return watching;
  watched_.emplace_back(key);
  out.push_back(kWatching);
  return {};
}

}  // namespace megalaunch
