#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/ranks/console.h"
#include "launcher/ranks/rank_log.h"

namespace megalaunch {

/// Shows the ranks' log files on the console while they grow. Ranks write straight into their
/// files, so the console's speed, or its end, never reaches them, and a line is on disk before
/// anything else happens to it; the file is the buffer. One thread of its own reads the files
/// (woken by inotify) and writes the console; the launcher's messages go through it too, so that
/// lines never mix. Public functions are for the agent's thread and never block, but finish().
class LogPump {
 public:
  struct Source {
    std::filesystem::path path;          ///< must exist
    std::shared_ptr<const RankLog> log;  ///< at this path; null: opened by follow()
    Console::Stream stream = Console::Stream::kOut;
    std::string prefix;      ///< in front of each line on the console
    bool on_console = true;  ///< otherwise its lines only go to the observer
    bool collapsed = false;  ///< the same line of several sources of a node is shown once
    int node = 0;            ///< for collapsed lines, in place of the prefix
    int rank = 0;            ///< global rank
    /// Sees each of its lines too, with its newline, on the pump's thread; may be null.
    std::function<void(std::string_view line)> also;
  };
  /// Sees every line (without newline) of every source, on the pump's thread, and when it was read:
  /// asking the clock for each line of a flood would cost more than the rest.
  using Observer = std::function<void(const Source&, std::string_view line, SteadyTime read_at)>;

  LogPump(int out_fd, int err_fd, Observer observer = nullptr);
  ~LogPump();

  /// Shows a file from its beginning.
  Status follow(Source source);
  /// All files so far have reached their end: shows what is left of them, unterminated last lines
  /// included, and forgets them. Asynchronous.
  void end_of_sources();
  /// One line of the launcher's own, to stderr, in order with what is shown. Drops when a stuck
  /// console has let 1 MiB pile up.
  void message(std::string_view line);
  /// One line of a rank of another node, without newline. False when a slow console has let 1 MiB
  /// pile up: dropped.
  bool show(Console::Stream stream, std::string_view prefix, std::string_view line);
  /// The status line; see Console.
  void set_status(std::string line);
  /// Columns of the terminal; 0 without one.
  int terminal_width() const;

  /// Shows all that is left and stops the thread; the console has until `patience` from now.
  /// Returns the bytes that could not be shown. Afterwards only the destructor may be called.
  uint64_t finish(milliseconds patience);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace megalaunch
