#include "launcher/gang/line_sender.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "tests/lib/processes.h"

namespace megalaunch {
namespace {

class LineSenderTest : public testing::Test {
 protected:
  boost::asio::io_context context_;
  std::vector<std::string> sent_;
  std::optional<LineSender> sender_{std::in_place, context_, [this](const LinesNews& news) {
                                      for (const auto& line : news.lines)
                                        sent_.push_back(line.text);
                                    }};
  std::function<void(std::string_view)> tap_ = sender_->tap(8, Console::Stream::kOut);
};

TEST_F(LineSenderTest, SendsTheNextLinesWhenNode0HasShownTheLast) {
  sender_->set_connected(true);
  tap_("one\n");
  ASSERT_TRUE(run_until(context_, [&] { return sent_.size() == 1; }));
  tap_("two\n");
  context_.restart();
  context_.run();  // nothing is left to do
  EXPECT_EQ(sent_, std::vector<std::string>{"one"});
  sender_->arrived();
  ASSERT_TRUE(run_until(context_, [&] { return sent_.size() == 2; }));
  EXPECT_EQ(sent_[1], "two");
}

TEST_F(LineSenderTest, BeginsAfreshWhenNode0IsBack) {
  sender_->set_connected(true);
  tap_("before\n");
  ASSERT_TRUE(run_until(context_, [&] { return sent_.size() == 1; }));
  sender_->set_connected(false);  // what was under way is never answered
  tap_("while it is gone\n");
  context_.restart();
  context_.run();
  EXPECT_EQ(sent_.size(), 1u);
  sender_->set_connected(true);
  tap_("after\n");
  ASSERT_TRUE(run_until(context_, [&] { return sent_.size() == 2; }));
  EXPECT_EQ(sent_[1], "after");
}

TEST_F(LineSenderTest, ATapMayOutliveIt) {
  sender_.reset();
  tap_("nobody hears this\n");
  context_.run();
  EXPECT_TRUE(sent_.empty());
}

}  // namespace
}  // namespace megalaunch
