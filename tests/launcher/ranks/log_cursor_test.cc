#include "launcher/ranks/log_cursor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LogCursorTest : public testing::Test {
 protected:
  void append(std::string_view text) {
    std::ofstream(path_, std::ios::app | std::ios::binary) << text;
  }
  std::vector<std::string> read_all(bool at_end = false) {
    std::vector<std::string> lines;
    for (;;) {
      std::string_view rest = cursor_.read(buffer_, at_end);
      if (rest.empty()) return lines;
      while (!rest.empty()) {
        const size_t newline = rest.find('\n');
        lines.emplace_back(rest.substr(0, newline == rest.npos ? newline : newline + 1));
        rest.remove_prefix(lines.back().size());
      }
    }
  }

  TempDir dir_;
  std::filesystem::path path_ = dir_.write("log", "");
  LogCursor cursor_ = std::move(*LogCursor::open(path_));
  std::vector<char> buffer_;
};

TEST_F(LogCursorTest, GivesEveryLineOnceWithItsNewline) {
  append("one\n\nthree\n");
  EXPECT_THAT(read_all(), ElementsAre("one\n", "\n", "three\n"));
  EXPECT_THAT(read_all(), IsEmpty());
  append("four\n");
  EXPECT_THAT(read_all(), ElementsAre("four\n"));
}

TEST_F(LogCursorTest, ALineThatIsNotCompleteStaysInTheFile) {
  append("one\ntw");
  EXPECT_THAT(read_all(), ElementsAre("one\n"));
  append("o");
  EXPECT_THAT(read_all(), IsEmpty());
  append("\n");
  EXPECT_THAT(read_all(), ElementsAre("two\n"));
}

TEST_F(LogCursorTest, AtTheEndAnUnterminatedLastLineIsGivenToo) {
  append("one\nlast");
  EXPECT_THAT(read_all(/*at_end=*/true), ElementsAre("one\n", "last"));
  EXPECT_EQ(cursor_.offset(), 8u);
}

TEST_F(LogCursorTest, BytesThatAreNotTextPassUnchanged) {
  const std::string binary("\0\x01\xff\xfe\r\x1b[K\r\n", 10);
  append(binary);
  EXPECT_THAT(read_all(), ElementsAre(binary));
}

TEST_F(LogCursorTest, ACarriageReturnEndsNoLine) {
  append("10%\r20%\r");
  EXPECT_THAT(read_all(), IsEmpty());
  append("done\n");
  EXPECT_THAT(read_all(), ElementsAre("10%\r20%\rdone\n"));
}

TEST_F(LogCursorTest, AnOverlongLineComesInPiecesCutBetweenCharacters) {
  for (const std::string character : {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    for (size_t shift = 0; shift < character.size(); ++shift) {
      std::string line(shift, 'x');
      while (line.size() < 3 * LogCursor::kPiece) line += character;
      append(line + "\n");
      std::string joined;
      for (const std::string& piece : read_all()) {
        EXPECT_LE(piece.size(), LogCursor::kPiece);
        EXPECT_NE(static_cast<unsigned char>(piece[0]) & 0xC0, 0x80)
            << "a piece begins inside a character";
        joined += piece;
      }
      EXPECT_EQ(joined, line + "\n");
    }
  }
}

TEST_F(LogCursorTest, AnOverlongLineOfNoEncodingAtAllComesThroughToo) {
  const std::string line(3 * LogCursor::kPiece + 5, '\x80');
  append(line);
  std::string joined;
  for (const std::string& piece : read_all(/*at_end=*/true)) joined += piece;
  EXPECT_EQ(joined, line);
}

TEST_F(LogCursorTest, ALineExactlyAsLongAsAPieceIsWhole) {
  for (const size_t length : {LogCursor::kPiece - 2, LogCursor::kPiece - 1}) {
    append(std::string(length, 'x') + "\n");
    EXPECT_THAT(read_all(), ElementsAre(std::string(length, 'x') + "\n"));
  }
}

TEST_F(LogCursorTest, HoweverTheFileGrowsTheLinesAreTheSame) {
  std::mt19937 random(7);
  std::string written, joined;
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (size_t length = random() % 700; text.size() < length;)
      text.push_back(random() % 40 == 0 ? '\n' : static_cast<char>('a' + random() % 26));
    append(text);
    written += text;
    for (const std::string& line : read_all()) {
      EXPECT_TRUE(line.ends_with('\n'));
      EXPECT_EQ(line.find('\n'), line.size() - 1);
      joined += line;
    }
  }
  for (const std::string& line : read_all(/*at_end=*/true)) joined += line;
  EXPECT_EQ(joined, written);
}

TEST(LogCursor, AFileThatIsNotThereIsAnErrorThatNamesIt) {
  const auto cursor = LogCursor::open("/no/such/log");
  ASSERT_FALSE(cursor);
  EXPECT_THAT(cursor.error().message, testing::HasSubstr("/no/such/log"));
}

}  // namespace
}  // namespace megalaunch
