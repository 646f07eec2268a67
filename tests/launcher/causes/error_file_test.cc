#include "launcher/causes/error_file.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(ErrorFile, ReadsTheFormThatRecordWrites) {
  const auto file = parse_error_file(
      R"({"message": {"message": "ValueError: bad", "extraInfo": {"py_callstack": "Traceback ...\nValueError: bad\n", "timestamp": "1730996841"}}})");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->message, "ValueError: bad");
  EXPECT_EQ(file->py_callstack, "Traceback ...\nValueError: bad\n");
  EXPECT_EQ(file->timestamp, WallTime(seconds(1'730'996'841)));
}

TEST(ErrorFile, ReadsTheFormWithAPlainMessage) {
  const auto file = parse_error_file(R"({"message": "it broke", "timestamp": 0})");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->message, "it broke");
  EXPECT_EQ(file->timestamp, std::nullopt) << "0 means that torch did not know";
}

TEST(ErrorFile, OtherTextIsAnErrorNotACrash) {
  for (const char* text : {"", "{", "[]", "7", "{}", R"({"message": 7})", R"({"message": null})"})
    EXPECT_FALSE(parse_error_file(text)) << text;
  EXPECT_FALSE(parse_error_file(std::string(ErrorFile::kMaxSize + 1, ' ')));
}

TEST(ErrorFile, OddMembersAreLeftOut) {
  const auto file = parse_error_file(
      R"({"message": {"message": 3, "extraInfo": {"timestamp": "soon", "py_callstack": []}}})");
  ASSERT_TRUE(file);
  EXPECT_EQ(*file, ErrorFile{});
}

TEST(ErrorFile, ALongTextLosesItsMiddle) {
  const std::string text = "begin" + std::string(2 * ErrorFile::kMaxText, '.') + "end";
  const auto file = parse_error_file("{\"message\": \"" + text + "\"}");
  ASSERT_TRUE(file);
  EXPECT_LE(file->message.size(), ErrorFile::kMaxText);
  EXPECT_TRUE(file->message.starts_with("begin"));
  EXPECT_TRUE(file->message.ends_with("end"));
}

}  // namespace
}  // namespace megalaunch
