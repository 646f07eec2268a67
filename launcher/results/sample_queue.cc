#include "launcher/results/sample_queue.h"

#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace megalaunch {

struct SampleQueue::State {
  struct Entry {
    Task task;
    std::uint64_t samples = 0;
  };

  std::mutex mutex;
  std::condition_variable news;  ///< there is a task, the end, or nothing left to do
  std::function<void(const std::string&)> complain;
  std::deque<Entry> entries;
  bool started = false;
  bool writing = false;
  bool finishing = false;
  bool said_why = false;
  bool said_dropped = false;
  std::uint64_t not_kept = 0;  ///< entries that add samples and are not done

  /// Under the mutex.
  void say(const std::string& text) {
    if (complain) complain(text);
  }

  void give(Entry entry) {
    entries.push_back(std::move(entry));
    news.notify_all();
  }

  void run() {
    std::optional<SampleWriter> writer;
    std::unique_lock lock(mutex);
    for (;;) {
      news.wait(lock, [this] { return finishing || !entries.empty(); });
      if (entries.empty()) return;
      const Entry entry = std::move(entries.front());
      entries.pop_front();
      writing = true;
      lock.unlock();
      const Status status = entry.task(writer);
      lock.lock();
      writing = false;
      if (status)
        not_kept -= entry.samples;
      else if (!std::exchange(said_why, true))
        say("training goes on, but its samples cannot be written: " + status.error().message);
      if (entries.empty()) news.notify_all();
    }
  }
};

SampleQueue::SampleQueue(std::function<void(const std::string&)> complain)
    : state_(std::make_shared<State>()) {
  state_->complain = std::move(complain);
}

SampleQueue::~SampleQueue() {
  mute();
  finish(milliseconds(0));
}

void SampleQueue::open(std::filesystem::path path) {
  const std::lock_guard lock(state_->mutex);
  // Never dropped, but there is only one each time that this node joins the run.
  state_->give({[path = std::move(path)](std::optional<SampleWriter>& writer) -> Status {
                  auto opened = SampleWriter::open(path);
                  if (!opened) return fail(std::move(opened).error());
                  writer.emplace(std::move(*opened));
                  return {};
                },
                0});
  if (std::exchange(state_->started, true)) return;
  // Signals are for the other threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([state = state_] { state->run(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void SampleQueue::push(Task task) {
  const std::lock_guard lock(state_->mutex);
  if (!state_->started || state_->finishing) return;
  ++state_->not_kept;
  if (state_->entries.size() < kCapacity) return state_->give({std::move(task), 1});
  if (!std::exchange(state_->said_dropped, true))
    state_->say(
        "training goes on, but its samples are dropped: the storage of the run's folder has not "
        "taken the last " +
        std::to_string(kCapacity));
}

void SampleQueue::mute() {
  const std::lock_guard lock(state_->mutex);
  state_->complain = nullptr;
}

std::uint64_t SampleQueue::finish(milliseconds patience) {
  std::unique_lock lock(state_->mutex);
  state_->finishing = true;
  state_->news.notify_all();
  if (state_->started)
    state_->news.wait_for(lock, patience,
                          [this] { return state_->entries.empty() && !state_->writing; });
  state_->entries.clear();
  return state_->not_kept;
}

}  // namespace megalaunch
