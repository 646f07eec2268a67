#include "launcher/gang/run_monitor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <future>
#include <mutex>

#include "env/unique_fd.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/results/sample_queue.h"
#include "launcher/results/samples.h"
#include "tests/lib/manual_clock.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class RunMonitorTest : public testing::Test {
 protected:
  RunMonitorTest() { monitor_.start(context_, pump_, log_); }
  ~RunMonitorTest() override { monitor_.stop(); }

  std::string samples() const { return read_file(samples_path(dir_.path(), 0)); }
  void see(int rank, std::string_view line) { monitor_.see_line(rank, line, clock_.steady()); }
  bool says(const std::string& text) {
    return run_until(context_, [&] { return log_text().find(text) != std::string::npos; });
  }
  std::string log_text() {
    const std::lock_guard lock(log_mutex_);
    return log_text_;
  }

  TempDir dir_;
  const std::string line_ = read_file(MEGALAUNCH_TEST_DATA "/results/iteration_lines/line01");
  boost::asio::io_context context_;
  ManualClock clock_;
  UniqueFd null_{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  LogPump pump_{null_.get(), null_.get()};
  std::mutex log_mutex_;
  std::string log_text_;
  Log log_ = Log::to_function([this](Log::Level, std::string_view line) {
    const std::lock_guard lock(log_mutex_);
    log_text_.append(line).append(1, '\n');
  });
  RunMonitor monitor_{clock_, RunMonitor::Options{4096, 1s, 15s}};
};

TEST_F(RunMonitorTest, AnIterationLineBecomesASample) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  see(7, line_);
  monitor_.stop();
  EXPECT_EQ(monitor_.finish(20s), 0U);
  EXPECT_EQ(read_samples(dir_.path()).size(), 1U);
}

TEST_F(RunMonitorTest, OtherLinesAndLinesBeforeTheFirstGenerationAreIgnored) {
  see(0, line_);
  monitor_.begin_run(dir_.path(), 0);
  see(0, line_);
  monitor_.begin_generation(0, 8);
  for (const std::string_view line : {"", "|", "||||", "loading | data", "\xff|\0"}) see(0, line);
  EXPECT_EQ(monitor_.finish(20s), 0U);
  EXPECT_EQ(samples(), "");
}

TEST_F(RunMonitorTest, WithoutATerminalItSaysALineOnceInAWhile) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  see(7, line_);
  EXPECT_TRUE(says("iteration"));
}

TEST_F(RunMonitorTest, AFolderThatCannotBeWrittenIsSaidOnceAndChangesNothing) {
  const auto in_the_way = dir_.write("file", "");
  monitor_.begin_run(in_the_way, 0);
  monitor_.begin_generation(0, 8);
  see(7, line_);
  monitor_.begin_run(in_the_way, 0);
  EXPECT_EQ(monitor_.finish(20s), 0U);
  const std::string text = log_text();
  EXPECT_THAT(text, HasSubstr("its samples cannot be written"));
  EXPECT_EQ(text.find("cannot be written"), text.rfind("cannot be written"));
}

TEST_F(RunMonitorTest, ANewGenerationGoesOnInTheSameFile) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  see(7, line_);
  monitor_.begin_run(dir_.path(), 0);  // it joined again
  monitor_.begin_generation(1, 8);
  see(7, line_);
  EXPECT_EQ(monitor_.finish(20s), 0U);
  const auto kept = read_samples(dir_.path());
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept.back().generation, 1);
}

TEST_F(RunMonitorTest, KnowsTheFurthestIterationAndTheNewestCompleteCheckpoint) {
  EXPECT_EQ(monitor_.furthest(), TrainingProgress());
  monitor_.begin_generation(0, 8);
  see(0, "saving checkpoint at iteration     300 to /ckpt in torch format");
  EXPECT_EQ(monitor_.furthest(), TrainingProgress());
  see(0, "  successfully saved checkpoint from iteration     200 to /ckpt");
  EXPECT_EQ(monitor_.furthest(), (TrainingProgress{std::nullopt, 200}));
  see(7, " iteration      250/    1000 | elapsed time per iteration (ms): 9.5 |");
  monitor_.begin_generation(1, 8);
  see(0, "  successfully saved checkpoint from iteration     100 to /ckpt [ t 1/4, p 1/2 ]");
  see(0, "  successfully saved checkpoint at iteration     220 to /ckpt [ t 1/4 | p 1/2 ]");
  EXPECT_EQ(monitor_.furthest(), (TrainingProgress{250, 220}));
  monitor_.stop();
}

TEST_F(RunMonitorTest, AfterAFloodTheNextLineCountsAgain) {
  monitor_.begin_generation(0, 8);
  for (int i = 0; i < 5000; ++i) see(7, "a | b");
  const std::string_view line =
      " iteration      250/    1000 | elapsed time per iteration (ms): 9.5 |";
  see(7, line);
  EXPECT_FALSE(monitor_.furthest().iteration);
  // A flood of other lines drowns no table.
  clock_.advance(1s);
  for (int i = 0; i < 5000; ++i) see(7, "words");
  see(7, line);
  EXPECT_EQ(monitor_.furthest().iteration, 250);
  clock_.advance(1s);
  see(7, "  successfully saved checkpoint at iteration     220 to /ckpt");
  EXPECT_EQ(monitor_.furthest().checkpoint, 220);
  monitor_.stop();
}

/// Storage that stalls: the file of samples is a full FIFO that nobody reads.
class StalledStorage : public RunMonitorTest {
 protected:
  StalledStorage() {
    const auto path = samples_path(dir_.path(), 0);
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    fifo_ = UniqueFd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    EXPECT_TRUE(fifo_);
    const std::string page(4096, '\n');
    while (::write(fifo_.get(), page.data(), page.size()) > 0) continue;
    monitor_.begin_run(dir_.path(), 0);
    monitor_.begin_generation(0, 8);
  }
  ~StalledStorage() override { drain(); }

  /// Storage goes on, as long as this is called.
  void drain() {
    char buffer[65536];
    for (ssize_t n; (n = ::read(fifo_.get(), buffer, sizeof buffer)) > 0;)
      taken_.append(buffer, static_cast<size_t>(n));
  }
  /// On a thread, as the pump does it. False when it hangs.
  bool sees(size_t lines) {
    auto all_seen = std::async(std::launch::async, [this, lines] {
      for (size_t i = 0; i < lines; ++i) {
        if (i % 1000 == 0) clock_.advance(1s);  // or it would be a flood
        see(7, fmt::format(" iteration {:8}/ 120000 | elapsed time per iteration (ms): 9.5 |", i));
      }
    });
    if (all_seen.wait_for(20s) == std::future_status::ready) return true;
    while (all_seen.wait_for(1ms) != std::future_status::ready) drain();
    return false;
  }

  UniqueFd fifo_;
  std::string taken_;
};

TEST_F(StalledStorage, HoldsUpNeitherTheLinesNorTheSummaryNorTheEnd) {
  ASSERT_TRUE(sees(10));
  EXPECT_TRUE(says("iteration"));
  monitor_.stop();
  EXPECT_EQ(monitor_.finish(10ms), 10U);
}

TEST_F(StalledStorage, SaysOnceThatItDropsWhatPilesUp) {
  constexpr size_t kMore = 100;
  ASSERT_TRUE(sees(SampleQueue::kCapacity + kMore));
  const std::string text = log_text();
  EXPECT_THAT(text, HasSubstr("samples are dropped"));
  EXPECT_EQ(text.find("are dropped"), text.rfind("are dropped"));
  EXPECT_EQ(monitor_.finish(0ms), SampleQueue::kCapacity + kMore);
}

TEST_F(StalledStorage, TakesWhatHasPiledUpWhenItGoesOn) {
  ASSERT_TRUE(sees(10));
  const auto count = [&] {
    drain();
    return std::count(taken_.begin(), taken_.end(), '{');
  };
  EXPECT_TRUE(wait_until([&] { return count() == 10; }));
  EXPECT_EQ(monitor_.finish(20s), 0U);
}

}  // namespace
}  // namespace megalaunch
