#include "launcher/ranks/log_pump.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "env/unique_fd.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Stream = Console::Stream;

/// Reads a descriptor to its end, on a thread, so that nobody who writes has to wait.
class Collector {
 public:
  explicit Collector(UniqueFd fd) : fd_(std::move(fd)), thread_([this] { run(); }) {}
  ~Collector() { join(); }
  /// All that came, once every writer is gone.
  std::string join() {
    if (thread_.joinable()) thread_.join();
    return text_;
  }
  std::string so_far() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  void run() {
    char buffer[4096];
    for (ssize_t count; (count = ::read(fd_.get(), buffer, sizeof buffer)) > 0;) {
      const std::lock_guard lock(mutex_);
      text_.append(buffer, static_cast<size_t>(count));
    }
  }
  UniqueFd fd_;
  std::mutex mutex_;
  std::string text_;
  std::thread thread_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

class LogPumpTest : public testing::Test {
 protected:
  LogPumpTest() {
    ::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    read_end_.reset(ends[0]);
    write_end_.reset(ends[1]);
  }

  LogPump::Source source(const std::string& name, std::string prefix = "",
                         Stream stream = Stream::kOut) {
    LogPump::Source made;
    made.path = dir_.path() / name;
    if (!std::filesystem::exists(made.path)) dir_.write(name, "");
    made.prefix = std::move(prefix);
    made.stream = stream;
    return made;
  }
  void append(const std::string& name, std::string_view text) {
    std::ofstream(dir_.path() / name, std::ios::app | std::ios::binary) << text;
  }
  /// A pump whose two streams go into one pipe.
  LogPump& pump_into_pipe(LogPump::Observer observer = nullptr) {
    pump_.emplace(write_end_.get(), write_end_.get(), std::move(observer));
    return *pump_;
  }
  /// Finishes the pump; what had come out of the pipe by then.
  std::string finish_and_read() {
    if (!collector_) collector_.emplace(std::move(read_end_));
    EXPECT_EQ(pump_->finish(10s), 0u);
    return rest();
  }
  std::string rest() {
    pump_.reset();
    write_end_.reset();
    return collector_->join();
  }

  TempDir dir_;
  UniqueFd read_end_, write_end_;
  std::optional<LogPump> pump_;
  std::optional<Collector> collector_;
};

TEST_F(LogPumpTest, ShowsLinesWithTheirPrefixWhileTheFileGrows) {
  auto& pump = pump_into_pipe();
  collector_.emplace(std::move(read_end_));
  ASSERT_TRUE(pump.follow(source("a", "[0:1] ")));
  append("a", "one\n");
  ASSERT_TRUE(wait_until([&] { return collector_->so_far() == "[0:1] one\n"; }));
  append("a", "two\nthr");
  ASSERT_TRUE(wait_until([&] { return collector_->so_far() == "[0:1] one\n[0:1] two\n"; }));
  append("a", "ee");
  EXPECT_EQ(finish_and_read(), "[0:1] one\n[0:1] two\n[0:1] three\n");
}

TEST_F(LogPumpTest, AtTheEndOfSourcesAnUnterminatedLineIsShownAndTheFileForgotten) {
  auto& pump = pump_into_pipe();
  collector_.emplace(std::move(read_end_));
  ASSERT_TRUE(pump.follow(source("a")));
  append("a", "last");
  pump.end_of_sources();
  ASSERT_TRUE(wait_until([&] { return collector_->so_far() == "last\n"; }));
  append("a", "after the end\n");
  ASSERT_TRUE(pump.follow(source("b")));  // of the next generation
  append("b", "new\n");
  EXPECT_EQ(finish_and_read(), "last\nnew\n");
}

TEST_F(LogPumpTest, WholeLinesOfTwoStreamsNeverMix) {
  auto& pump = pump_into_pipe();
  collector_.emplace(std::move(read_end_));
  ASSERT_TRUE(pump.follow(source("out", "O:")));
  ASSERT_TRUE(pump.follow(source("err", "E:", Stream::kErr)));
  const std::string out_line(300, 'o'), err_line(500, 'e');
  std::thread other([&] {
    for (int i = 0; i < 400; ++i) {
      append("err", err_line.substr(0, 250));
      append("err", err_line.substr(250) + "\n");
    }
  });
  for (int i = 0; i < 400; ++i) {
    append("out", out_line + "\n" + out_line);
    append("out", "\n");
    if (i % 50 == 0) pump.message("M:message");
  }
  other.join();
  int out = 0, err = 0, messages = 0;
  for (const std::string& line : lines_of(finish_and_read())) {
    if (line == "O:" + out_line)
      ++out;
    else if (line == "E:" + err_line)
      ++err;
    else if (line == "M:message")
      ++messages;
    else
      ADD_FAILURE() << "a mixed line: " << line;
  }
  EXPECT_EQ(out, 800);
  EXPECT_EQ(err, 400);
  EXPECT_EQ(messages, 8);
}

TEST_F(LogPumpTest, NothingIsLostAtTheEndWith64Sources) {
  auto& pump = pump_into_pipe();
  collector_.emplace(std::move(read_end_));
  for (int i = 0; i < 64; ++i)
    ASSERT_TRUE(pump.follow(source(std::to_string(i), fmt::format("[{}] ", i))));
  for (int i = 0; i < 64; ++i) {
    std::string text;
    for (int line = 0; line < 200; ++line) text += fmt::format("line {}\n", line);
    append(std::to_string(i), text + "last");
  }
  std::map<std::string, int> next;
  const auto lines = lines_of(finish_and_read());
  EXPECT_EQ(lines.size(), 64u * 201);
  for (const std::string& line : lines) {
    const std::string prefix = line.substr(0, line.find(' ') + 1);
    const int number = next[prefix]++;
    EXPECT_EQ(line, prefix + (number == 200 ? "last" : fmt::format("line {}", number)));
  }
}

TEST_F(LogPumpTest, WhatTheLauncherSaysComesAfterTheLinesThatWereThereBefore) {
  auto& pump = pump_into_pipe();
  ASSERT_TRUE(pump.follow(source("a")));
  append("a", "Traceback\n");
  pump.message("rank 0 failed");
  const auto lines = lines_of(finish_and_read());
  EXPECT_THAT(lines, ElementsAre("Traceback", "rank 0 failed"));
}

TEST_F(LogPumpTest, AStalledReaderLosesLinesThatAreCountedAndNothingElseWaits) {
  auto& pump = pump_into_pipe();  // nobody reads
  ASSERT_TRUE(pump.follow(source("a")));
  const std::string line(99, 'x');
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += line + "\n";
  append("a", text);
  for (int i = 0; i < 1000; ++i) pump.set_status("s");
  const auto before = std::chrono::steady_clock::now();
  const uint64_t dropped = pump.finish(300ms);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
  collector_.emplace(std::move(read_end_));
  EXPECT_EQ(rest().size() + dropped, text.size());
  EXPECT_EQ(read_file(dir_.path() / "a"), text);
}

TEST_F(LogPumpTest, WithAnObserverTheDroppedLinesAreCountedAndStillObserved) {
  std::atomic<int> seen = 0;
  auto& pump =
      pump_into_pipe([&](const LogPump::Source&, std::string_view, SteadyTime) { ++seen; });
  ASSERT_TRUE(pump.follow(source("a")));
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "0123456789\n";
  append("a", text);
  const uint64_t dropped = pump.finish(100ms);
  EXPECT_EQ(seen, 200'000);
  collector_.emplace(std::move(read_end_));
  EXPECT_EQ(rest().size() + dropped, text.size());
}

TEST_F(LogPumpTest, AStalledSocketDoesNotHoldUpTheEndEither) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  LogPump pump(writer.get(), writer.get());
  ASSERT_TRUE(pump.follow(source("a")));
  append("a", std::string(4 << 20, 'x') + "\n");
  const auto before = std::chrono::steady_clock::now();
  EXPECT_GT(pump.finish(200ms), 1u << 20);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
}

TEST_F(LogPumpTest, AReaderThatIsGoneHoldsUpNothing) {
  auto& pump = pump_into_pipe();
  read_end_.reset();
  ASSERT_TRUE(pump.follow(source("a")));
  append("a", std::string(1 << 20, 'x') + "\n");
  const auto before = std::chrono::steady_clock::now();
  EXPECT_GT(pump.finish(10s), 0u);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
}

TEST_F(LogPumpTest, OnlyTheObserverSeesWhatIsNotForTheConsole) {
  std::mutex mutex;
  std::vector<std::string> seen;
  auto& pump = pump_into_pipe([&](const LogPump::Source& from, std::string_view line, SteadyTime) {
    const std::lock_guard lock(mutex);
    seen.push_back(fmt::format("{}:{}", from.rank, line));
  });
  auto hidden = source("a");
  hidden.on_console = false;
  hidden.rank = 7;
  ASSERT_TRUE(pump.follow(std::move(hidden)));
  append("a", "one\ntwo");
  EXPECT_EQ(finish_and_read(), "");
  EXPECT_THAT(seen, ElementsAre("7:one", "7:two"));
}

TEST_F(LogPumpTest, CollapsedLinesAreShownOnceAndNoneIsLostAtTheEnd) {
  auto& pump = pump_into_pipe();
  collector_.emplace(std::move(read_end_));
  const std::vector<std::string> names{"0", "1", "2", "3"};
  for (const std::string& name : names) {
    auto from = source(name);
    from.collapsed = true;
    from.node = 5;
    from.rank = std::stoi(name);
    append(name, "same\n");
    if (name != "0") append(name, "most\n");
    append(name, "own " + name + "\nunfinished");
    ASSERT_TRUE(pump.follow(std::move(from)));
  }
  const auto lines = lines_of(finish_and_read());
  std::map<std::string, int> ranks;  // a slow machine may show a line in two groups
  for (const std::string& line : lines) {
    ASSERT_EQ(line.substr(0, 3), "[5:") << line;
    const size_t end = line.find("] ");
    const std::string who = line.substr(3, end - 3);
    for (size_t i = 0; i < who.size(); i += 2)
      ranks[line.substr(end + 2)] +=
          i + 1 < who.size() && who[i + 1] == '-' ? who[i + 2] - who[i] : 1;
  }
  EXPECT_EQ(ranks["same"], 4);
  EXPECT_EQ(ranks["most"], 3);
  EXPECT_EQ(ranks["own 2"], 1);
  EXPECT_EQ(ranks["unfinished"], 4);
}

TEST_F(LogPumpTest, LinesOfOtherNodesAreBoundedBehindAStuckConsole) {
  auto& pump = pump_into_pipe();  // nobody reads
  const std::string line(999, 'x');
  int taken = 0;
  while (taken < 10'000 && pump.show(Stream::kOut, "[1:9] ", line)) ++taken;
  EXPECT_LT(taken, 5'000);
  pump.finish(100ms);
  collector_.emplace(std::move(read_end_));
  EXPECT_THAT(rest(), testing::StartsWith("[1:9] xxx"));
}

TEST_F(LogPumpTest, AFileThatIsNotThereIsAnError) {
  LogPump::Source missing;
  missing.path = "/no/such/log";
  const auto followed = pump_into_pipe().follow(missing);
  ASSERT_FALSE(followed);
  EXPECT_THAT(followed.error().message, HasSubstr("/no/such/log"));
}

int watches_of_this_process() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) count += line.starts_with("inotify wd:");
  }
  return count;
}

TEST_F(LogPumpTest, WatchesOfFilesThatHaveEndedAreGivenBack) {
  auto& pump = pump_into_pipe();
  const int before = watches_of_this_process();
  for (int generation = 0; generation < 20; ++generation) {
    for (const char* stream : {"out", "err"})
      ASSERT_TRUE(pump.follow(source(fmt::format("{}.{}", generation, stream))));
    pump.end_of_sources();
  }
  EXPECT_TRUE(wait_until([&] { return watches_of_this_process() == before; }));
}

// --- on a terminal

class LogPumpOnATerminal : public LogPumpTest {
 protected:
  LogPumpOnATerminal() {
    int master = -1, slave = -1;
    termios raw{};
    ::cfmakeraw(&raw);
    winsize size{24, 80, 0, 0};
    if (::openpty(&master, &slave, nullptr, &raw, &size) != 0) std::abort();
    master_.reset(master);
    slave_.reset(slave);
  }
  std::string finish() {
    if (!screen_) screen_.emplace(std::move(master_));
    terminal_pump_->finish(10s);
    terminal_pump_.reset();
    slave_.reset();
    return screen_->join();
  }

  UniqueFd master_, slave_;
  std::optional<LogPump> terminal_pump_;
  std::optional<Collector> screen_;
};

TEST_F(LogPumpOnATerminal, TheStatusLineGivesWayToLinesAndIsGoneAtTheEnd) {
  terminal_pump_.emplace(slave_.get(), slave_.get());
  screen_.emplace(std::move(master_));
  EXPECT_EQ(terminal_pump_->terminal_width(), 80);
  terminal_pump_->set_status("iteration 1");
  ASSERT_TRUE(wait_until([&] { return screen_->so_far() == "iteration 1"; }));
  terminal_pump_->message("hello");
  const std::string erase = "\r\x1b[2K";
  const std::string shown = "iteration 1" + erase + "hello\niteration 1";
  ASSERT_TRUE(wait_until([&] { return screen_->so_far() == shown; }));
  terminal_pump_->set_status("iteration 2");
  EXPECT_TRUE(wait_until([&] { return screen_->so_far() == shown + erase + "iteration 2"; }));
  EXPECT_EQ(finish(), shown + erase + "iteration 2" + erase);
}

TEST_F(LogPumpOnATerminal, LinesOnStdoutMakeRoomOnTheTerminalOfStderrToo) {
  terminal_pump_.emplace(slave_.get(), slave_.get());
  screen_.emplace(std::move(master_));
  terminal_pump_->set_status("status");
  ASSERT_TRUE(wait_until([&] { return screen_->so_far() == "status"; }));
  ASSERT_TRUE(terminal_pump_->follow(source("a")));
  append("a", "line\n");
  ASSERT_TRUE(wait_until([&] { return screen_->so_far() == "status\r\x1b[2Kline\nstatus"; }));
  finish();
}

TEST_F(LogPumpOnATerminal, WithoutATerminalThereIsNoStatusLine) {
  auto& pump = pump_into_pipe();
  EXPECT_EQ(pump.terminal_width(), 0);
  pump.set_status("status");
  pump.message("hello");
  EXPECT_EQ(finish_and_read(), "hello\n");
}

TEST_F(LogPumpOnATerminal, ATerminalThatIsHeldDoesNotHoldUpTheEnd) {  // somebody pressed Ctrl-S
  terminal_pump_.emplace(slave_.get(), slave_.get());
  ASSERT_TRUE(terminal_pump_->follow(source("a")));
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "a line of some length\n";
  append("a", text);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_GT(terminal_pump_->finish(300ms), 0u);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
}

}  // namespace
}  // namespace megalaunch
