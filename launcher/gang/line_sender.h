#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "launcher/gang/message.h"
#include "launcher/ranks/console.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// Sends lines of chosen ranks to node 0 when LineRelay allows it. Belongs to the thread that runs
/// the context, but for what tap() gives.
class LineSender {
 public:
  LineSender(boost::asio::io_context& context, std::function<void(LinesNews)> send);
  ~LineSender();

  /// Takes each line of a rank, on any thread; may outlive the sender.
  std::function<void(std::string_view line)> tap(int rank, Console::Stream stream);
  /// Nothing is sent before node 0 is there; a loss forgets what waits and what is under way.
  void set_connected(bool connected);
  /// Node 0 has shown what was sent last.
  void arrived();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
