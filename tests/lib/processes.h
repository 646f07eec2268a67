#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "env/clock.h"

namespace megalaunch {

/// The process exists and is no zombie.
inline bool is_alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t close = text.rfind(')');
  return close != std::string::npos && close + 2 < text.size() && text[close + 2] != 'Z' &&
         text[close + 2] != 'X';
}

/// Runs the context until `done()` holds; false when it does not within `limit`, which is there to
/// end a broken test and nothing else.
template <class Done>
bool run_until(boost::asio::io_context& context, Done done, seconds limit = seconds(20)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    context.restart();
    context.run_one_for(milliseconds(5));
  }
  return true;
}

/// The same without a context, for what another process does.
template <class Done>
bool wait_until(Done done, seconds limit = seconds(20)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

/// The number that a shell wrote into a file with `echo $! > file`; 0 while it is not there.
inline pid_t pid_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) && !file.eof() ? std::stoi(line) : 0;
}

}  // namespace megalaunch
