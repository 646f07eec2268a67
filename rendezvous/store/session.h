#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rendezvous/store/frame_decoder.h"
#include "rendezvous/store/key_space.h"
#include "rendezvous/store/refusal.h"
#include "rendezvous/store/waiting.h"

namespace megalaunch {

/// One client's conversation with a KeySpace: bytes in, replies out. Knows no socket and no clock.
/// Not thread-safe; belongs to the thread that its ticket names. Destroying it purges its wait and
/// its watches.
class Session {
 public:
  /// `self` names the connection in wake-ups; its `wait` field is the session's own. `limits` and
  /// `wakeups` outlive it.
  Session(std::shared_ptr<KeySpace> keys, const StoreLimits& limits,
          std::optional<Dialect> expected, Ticket self, Wakeups& wakeups);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  enum class Stop {
    kNeedMore,    ///< every whole request is done; the rest of the bytes is the front of one
    kOutputFull,  ///< there is more to reply, but so much that this should be sent first
    kMoreWork,    ///< a long request is not done: call again when others had their turn
    kAmbiguous,   ///< nothing follows, and only silence can tell what the request was: see
                  ///< decide_by_silence()
    kRefused,     ///< refusal() says why the connection must be closed, once the replies are sent
  };
  struct Progress {
    Stop stop;
    size_t consumed;  ///< bytes that need not be shown again
  };

  /// Executes the requests in `bytes`: the unconsumed ones of the call before, then new ones.
  /// Appends the replies to `out`.
  Progress receive(std::string_view bytes, std::string& out);
  /// The ambiguous request stayed without a continuation for as long as a continuation takes.
  void decide_by_silence() { decoder_.decide_l1(); }

  /// The wait of `ticket` is over. Appends the reply, unless the client has given the wait up
  /// meanwhile.
  void wake(const Ticket& ticket, std::string& out);

  Refusal refusal() const { return refusal_; }
  std::optional<Dialect> dialect() const { return decoder_.dialect(); }
  bool waiting() const { return waiting_; }
  /// Whether receive() has something to do though no new bytes came.
  bool busy() const { return listing_ != nullptr; }
  /// Requests executed so far.
  uint64_t operations() const { return operations_; }
  /// At least that many bytes belong to the request at the front, as far as is known.
  size_t needed_bytes() const { return decoder_.needed_bytes(); }

 private:
  /// LIST_KEYS, under way: the pages are collected, then sent. Keys come and go meanwhile.
  struct Listing {
    int next_table = 0;
    int64_t count = 0;
    size_t bytes = 0;
    std::vector<Blob> pages;
    size_t next_page = 0;
    bool owes_stop = false;  // a wait ended in the middle of the reply
  };

  Outcome<void> execute(const Request& request, std::string& out);
  Outcome<void> collect(std::string& scratch);
  Stop go_on_listing(std::string& out);
  Outcome<void> park_or_answer(const Outcome<bool>& done, std::string& out);
  Outcome<void> multi_get(const FieldList& keys, std::string& out);
  Outcome<void> watch(std::string_view key, std::string& out);
  void forget_wait();
  Ticket next_wait();

  std::shared_ptr<KeySpace> keys_;
  const StoreLimits* limits_;
  Wakeups* wakeups_;
  FrameDecoder decoder_;
  Ticket self_;
  bool waiting_ = false;
  Refusal refusal_ = Refusal::kNotTheProtocol;
  uint64_t operations_ = 0;
  Wait wait_;
  std::vector<std::string> watched_;
  std::unique_ptr<Listing> listing_;
};

}  // namespace megalaunch
