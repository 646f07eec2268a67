#include "launcher/gang/run_monitor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <optional>

#include "env/unique_fd.h"
#include "launcher/ranks/log_pump.h"
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

  TempDir dir_;
  const std::string line_ = read_file(MEGALAUNCH_TEST_DATA "/results/iteration_lines/line01");
  boost::asio::io_context context_;
  ManualClock clock_;
  UniqueFd null_{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  LogPump pump_{null_.get(), null_.get()};
  std::string log_text_;
  Log log_ = Log::to_function(
      [this](Log::Level, std::string_view line) { log_text_.append(line).append(1, '\n'); });
  RunMonitor monitor_{clock_, RunMonitor::Options{4096, 1s, 15s}};
};

TEST_F(RunMonitorTest, AnIterationLineBecomesASample) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  monitor_.see_line(7, line_);
  EXPECT_FALSE(samples().empty());
}

TEST_F(RunMonitorTest, OtherLinesAndLinesBeforeTheFirstGenerationAreIgnored) {
  monitor_.see_line(0, line_);
  monitor_.begin_run(dir_.path(), 0);
  monitor_.see_line(0, line_);
  const std::string before = samples();
  monitor_.begin_generation(0, 8);
  for (const std::string_view line : {"", "|", "||||", "loading | data", "\xff|\0"})
    monitor_.see_line(0, line);
  EXPECT_EQ(samples(), before);
}

TEST_F(RunMonitorTest, WithoutATerminalItSaysALineOnceInAWhile) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  monitor_.see_line(7, line_);
  EXPECT_TRUE(
      run_until(context_, [&] { return log_text_.find("iteration") != std::string::npos; }));
}

TEST_F(RunMonitorTest, AFolderThatCannotBeWrittenIsSaidOnceAndChangesNothing) {
  const auto in_the_way = dir_.write("file", "");
  monitor_.begin_run(in_the_way, 0);
  monitor_.begin_generation(0, 8);
  monitor_.see_line(7, line_);
  monitor_.begin_run(in_the_way, 0);
  EXPECT_THAT(log_text_, HasSubstr("its samples cannot be written"));
  EXPECT_EQ(log_text_.find("cannot be written"), log_text_.rfind("cannot be written"));
}

TEST_F(RunMonitorTest, ANewGenerationGoesOnInTheSameFile) {
  monitor_.begin_run(dir_.path(), 0);
  monitor_.begin_generation(0, 8);
  monitor_.see_line(7, line_);
  const std::string before = samples();
  monitor_.begin_run(dir_.path(), 0);  // it joined again
  monitor_.begin_generation(1, 8);
  monitor_.see_line(7, line_);
  EXPECT_TRUE(samples().starts_with(before));
  EXPECT_GT(samples().size(), before.size());
}

}  // namespace
}  // namespace megalaunch
