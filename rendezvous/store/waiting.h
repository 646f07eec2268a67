#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <string>

namespace megalaunch {

/// Names a connection, and a wait of it, without keeping either alive: a ticket that comes too late
/// matches nothing.
struct Ticket {
  uint32_t thread = 0;  ///< of the server
  uint32_t slot = 0;    ///< in that thread's table of connections
  uint32_t serial = 0;  ///< which of the connections that had the slot
  uint32_t wait = 0;    ///< which of the connection's waits

  bool operator==(const Ticket&) const = default;
};

/// Who is told by a KeySpace that waits ended and watched keys changed. Called with locks of the
/// KeySpace held: must not call back into it, and should only take a note.
class Wakeups {
 public:
  virtual ~Wakeups() = default;
  /// The wait is over: all its keys came.
  virtual void wake(const Ticket& ticket) = 0;
  /// `bytes` are for the watcher, in the order of these calls.
  virtual void push(const Ticket& ticket, std::string bytes) = 0;
};

/// A wait of one connection, while it is registered with a KeySpace. Belongs to the connection,
/// which must end it (KeySpace::cancel, or the wake-up) before it destroys or reuses it. Not
/// movable: the KeySpace points into it.
class Wait {
 public:
  Wait() = default;
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

 private:
  friend class KeySpace;

  /// A place in the row of those who wait for one key.
  struct Place : boost::intrusive::list_base_hook<
                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Wait* wait = nullptr;
    const std::string* key = nullptr;  // in the map
  };
  using Row = boost::intrusive::list<Place, boost::intrusive::constant_time_size<false>>;

  Place& place(size_t index) { return index == 0 ? first_ : more_[index - 1]; }

  Ticket ticket_;
  std::atomic<uint32_t> missing_{0};
  uint32_t places_ = 0;
  uint64_t shards_ = 0;  // that hold a place, as a bit mask
  size_t charged_ = 0;
  Place first_;
  std::unique_ptr<Place[]> more_;
};

}  // namespace megalaunch
