#include "rendezvous/gang/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace megalaunch {
namespace {

using testing::HasSubstr;

std::string header(uint32_t size) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(size >> shift));
  return bytes;
}

TEST(Frame, TheLengthComesFirstInLittleEndian) {
  EXPECT_EQ(encode_frame("hello"), std::string("\x05\0\0\0hello", 9));
  EXPECT_EQ(encode_frame(""), std::string("\0\0\0\0", 4));
  EXPECT_EQ(encode_frame(std::string(0x0102, 'x')).substr(0, 4), std::string("\x02\x01\0\0", 4));
}

TEST(Frame, ThePingOfTheFormatDescriptionHasTheBytesItShows) {  // channel_format.md
  const std::string ping = R"({"type":"ping","sent":1730996841000000000})";
  EXPECT_EQ(encode_frame(ping).substr(0, 4), std::string("\x2A\0\0\0", 4));
}

TEST(FrameReader, HoweverTheStreamIsCutTheFramesAreTheSame) {
  std::mt19937 random(3);
  std::vector<std::string> sent;
  std::string stream;
  for (int i = 0; i < 300; ++i) {
    sent.emplace_back(random() % 300, static_cast<char>(i));
    stream += encode_frame(sent.back());
  }
  for (const size_t cut :
       {size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{1000}, stream.size()}) {
    FrameReader reader;
    std::vector<std::string> got;
    for (size_t at = 0; at < stream.size(); at += cut) {
      reader.feed(std::string_view(stream).substr(at, cut));
      for (;;) {
        auto payload = reader.next();
        ASSERT_TRUE(payload);
        if (!payload->has_value()) break;
        got.push_back(**payload);
      }
    }
    EXPECT_EQ(got, sent);
  }
}

TEST(FrameReader, ALengthBeyondTheLimitIsAnErrorBeforeItsBytesCome) {
  FrameReader reader;
  reader.feed(header(kMaxFrameBeforeProof + 1));
  const auto payload = reader.next();
  ASSERT_FALSE(payload);
  EXPECT_EQ(payload.error().kind, Error::Kind::kProtocol);
  EXPECT_THAT(payload.error().message, HasSubstr("65537 bytes, the limit is 65536"));
}

TEST(FrameReader, TheLimitGrowsWithTheProof) {
  FrameReader reader;
  reader.feed(encode_frame(std::string(kMaxFrameBeforeProof, 'x')));
  EXPECT_EQ((*reader.next())->size(), kMaxFrameBeforeProof);
  reader.trust_peer();
  reader.feed(encode_frame(std::string(kMaxFrame, 'x')));
  EXPECT_EQ((*reader.next())->size(), kMaxFrame);
  reader.feed(header(kMaxFrame + 1));
  EXPECT_FALSE(reader.next());
}

TEST(FrameReader, TheLargestLengthIsNoSmallOne) {
  FrameReader reader;
  reader.trust_peer();
  reader.feed(header(0xFFFFFFFF));
  EXPECT_FALSE(reader.next());
}

}  // namespace
}  // namespace megalaunch
