#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/results/samples.h"

namespace megalaunch {

/// Writes samples on a thread of its own: the run's folder is often on shared storage, which may
/// stall for minutes, and neither the agent nor the console may wait for it. Samples that pile up
/// beyond kCapacity are dropped. Thread-safe; nothing here blocks, but finish().
class SampleQueue {
 public:
  /// Entries; one that adds a round of GPU samples counts as one.
  static constexpr std::size_t kCapacity = 4096;

  /// `complain` is told once why samples are not written, and once that they are dropped: on any
  /// thread, not after mute(). It must not call the queue.
  explicit SampleQueue(std::function<void(const std::string&)> complain);
  /// Drops what is not written yet.
  ~SampleQueue();

  /// What is added from now on goes to this file; until the first one it goes nowhere.
  void open(std::filesystem::path path);
  /// As SampleWriter::add().
  template <class Values>
  void add(WallTime at, int generation, int who, Values values) {
    push([at, generation, who,
          values = std::move(values)](std::optional<SampleWriter>& writer) -> Status {
      return writer ? writer->add(at, generation, who, values) : Status();
    });
  }

  void mute();
  /// Storage has `patience` to take what is left. Returns how many entries it did not take, then or
  /// before. A write that hangs on stays behind on its thread, which ends with the process.
  /// Afterwards only the destructor may be called.
  std::uint64_t finish(milliseconds patience);

 private:
  using Task = std::function<Status(std::optional<SampleWriter>&)>;
  struct State;

  void push(Task task);

  std::shared_ptr<State> state_;  ///< the thread's, too
};

}  // namespace megalaunch
