#include "rendezvous/store/frame_decoder.h"

#include <gtest/gtest.h>

#include <vector>

#include "rendezvous/store/request_encoder.h"

namespace megalaunch {
namespace {

using enum Operation;
using State = FrameDecoder::State;

const StoreLimits kLimits;

std::string after_magic(const std::string& frame) {
  return std::string(kMagicOpening) + frame;
}

/// A decoder that is past the opening of a kMagic connection.
FrameDecoder magic_decoder(const StoreLimits& limits = kLimits) {
  FrameDecoder decoder(limits);
  EXPECT_EQ(decoder.decode(kMagicOpening), State::kRequest);
  EXPECT_EQ(decoder.request().operation, kValidate);
  return decoder;
}

/// One request of every operation.
std::vector<std::pair<Operation, std::string>> every_request(Dialect dialect) {
  std::vector<std::pair<Operation, std::string>> requests;
  for (int index = 0; index < kOperationCount; ++index) {
    const auto operation = static_cast<Operation>(index);
    if (!opcode_of(dialect, operation)) continue;
    const int64_t number = operation == kValidate ? int64_t{kMagicWord} : -7;
    const auto fields = fields_of(operation);
    std::string bytes;
    if (fields == "N")
      bytes = encode_request(dialect, operation, {"/a", "", "/ccc"});
    else if (fields == "P")
      bytes = encode_request(dialect, operation, {"/a", "1", "/b", ""});
    else if (fields == "SVV")
      bytes = encode_request(dialect, operation, {"/key", "old", "new"});
    else if (fields == "SV")
      bytes = encode_request(dialect, operation, {"/key", "value"});
    else if (fields.starts_with("S"))
      bytes = encode_request(dialect, operation, {"/key"}, number);
    else
      bytes = encode_request(dialect, operation, {}, number);
    requests.emplace_back(operation, bytes);
  }
  return requests;
}

void expect_same(const Request& request, Operation operation) {
  EXPECT_EQ(request.operation, operation);
  const auto fields = fields_of(operation);
  const auto has = [&](char field) { return fields.find(field) != std::string_view::npos; };
  const bool two_values = fields == "SVV";
  EXPECT_EQ(request.key, has('S') ? "/key" : "");
  EXPECT_EQ(request.value, two_values ? "old" : has('V') ? "value" : "");
  EXPECT_EQ(request.desired, two_values ? "new" : "");
  EXPECT_EQ(request.number, has('I') ? -7 : 0);
  if (operation == kPing) {
    EXPECT_EQ(request.word, static_cast<uint32_t>(-7));
  }
  std::vector<std::string_view> list;
  if (has('N')) list = {"/a", "", "/ccc"};
  if (has('P')) list = {"/a", "1", "/b", ""};
  EXPECT_EQ(std::vector<std::string_view>(request.list.begin(), request.list.end()), list);
}

TEST(FrameDecoder, CutsEveryRequestOfEveryDialectWhereverTheStreamIsSplit) {
  for (const auto dialect : {Dialect::kL1, Dialect::kL2, Dialect::kMagic}) {
    for (const auto& [operation, frame] : every_request(dialect)) {
      for (size_t split = 0; split <= frame.size(); ++split) {
        FrameDecoder decoder(kLimits, dialect);
        if (dialect == Dialect::kMagic) decoder = magic_decoder();
        SCOPED_TRACE(testing::Message() << "operation " << int(operation) << " split at " << split);
        if (split < frame.size()) {
          ASSERT_EQ(decoder.decode(std::string_view(frame).substr(0, split)), State::kNeedMore);
          EXPECT_GT(decoder.needed_bytes(), split);
          EXPECT_LE(decoder.needed_bytes(), frame.size());
        }
        // What follows belongs to the next request.
        const std::string more = frame + "\x07";
        ASSERT_EQ(decoder.decode(more), State::kRequest);
        EXPECT_EQ(decoder.frame_bytes(), frame.size());
        expect_same(decoder.request(), operation);
      }
    }
  }
}

TEST(FrameDecoder, CutsARequestThatComesByteByByte) {
  for (const auto& [operation, frame] : every_request(Dialect::kMagic)) {
    FrameDecoder decoder = magic_decoder();
    for (size_t size = 1; size < frame.size(); ++size)
      ASSERT_EQ(decoder.decode(std::string_view(frame).substr(0, size)), State::kNeedMore);
    ASSERT_EQ(decoder.decode(frame), State::kRequest);
    expect_same(decoder.request(), operation);
  }
}

TEST(FrameDecoder, AConnectionIsMagicOnlyByAllFiveBytes) {
  for (size_t size = 1; size < kMagicOpening.size(); ++size) {
    FrameDecoder decoder(kLimits);
    EXPECT_EQ(decoder.decode(kMagicOpening.substr(0, size)), State::kNeedMore);
    EXPECT_EQ(decoder.dialect(), std::nullopt);
  }
  FrameDecoder decoder(kLimits);
  EXPECT_EQ(decoder.decode(after_magic("\x0D")), State::kRequest);
  EXPECT_EQ(decoder.dialect(), Dialect::kMagic);
}

TEST(FrameDecoder, ALegacySetWhoseKeyLengthLooksLikeTheMagicIsASet) {
  const std::string key(0xCE, 'k');
  const auto frame = encode_request(Dialect::kL1, kSet, {key, "v"});
  ASSERT_EQ(frame.substr(0, 2), kMagicOpening.substr(0, 2));
  FrameDecoder decoder(kLimits);
  EXPECT_EQ(decoder.decode(std::string_view(frame).substr(0, 2)), State::kNeedMore);
  ASSERT_EQ(decoder.decode(frame), State::kRequest);
  EXPECT_EQ(decoder.dialect(), Dialect::kLegacy);
  EXPECT_EQ(decoder.request().key, key);
}

TEST(FrameDecoder, OpcodeEightWithAContinuationIsAnAppendOfL2) {
  const auto frame = encode_request(Dialect::kL2, kAppend, {"/k", "v"});
  FrameDecoder decoder(kLimits);
  const size_t key_end = 1 + 8 + 2;
  EXPECT_EQ(decoder.decode(std::string_view(frame).substr(0, key_end)), State::kAmbiguous);
  EXPECT_EQ(decoder.decode(std::string_view(frame).substr(0, key_end + 1)), State::kNeedMore);
  ASSERT_EQ(decoder.decode(frame), State::kRequest);
  EXPECT_EQ(decoder.request().operation, kAppend);
  EXPECT_EQ(decoder.dialect(), Dialect::kL2);
}

TEST(FrameDecoder, OpcodeEightFollowedBySilenceIsADeleteOfL1) {
  const auto frame = encode_request(Dialect::kL1, kDelete, {"/k"});
  FrameDecoder decoder(kLimits);
  ASSERT_EQ(decoder.decode(frame), State::kAmbiguous);
  decoder.decide_l1();
  ASSERT_EQ(decoder.decode(frame), State::kRequest);
  EXPECT_EQ(decoder.request().operation, kDelete);
  EXPECT_EQ(decoder.request().key, "/k");
  EXPECT_EQ(decoder.dialect(), Dialect::kL1);
}

TEST(FrameDecoder, OpcodesThatOnlyL2HasEndTheDoubt) {
  FrameDecoder decoder(kLimits);
  ASSERT_EQ(decoder.decode(encode_request(Dialect::kL2, kCancelWait)), State::kRequest);
  EXPECT_EQ(decoder.dialect(), Dialect::kL2);
  EXPECT_EQ(decoder.decode(encode_request(Dialect::kL2, kDelete, {"/k"})), State::kRequest);
  EXPECT_EQ(decoder.request().operation, kDelete);
}

TEST(FrameDecoder, OpcodeSevenMeansWhatTheExpectedDialectSays) {
  const auto frame = encode_request(Dialect::kL1, kWatchKey, {"/k"});
  FrameDecoder unknown(kLimits);
  ASSERT_EQ(unknown.decode(frame), State::kRequest);
  EXPECT_EQ(unknown.request().operation, kDelete);
  FrameDecoder l1(kLimits, Dialect::kL1);
  ASSERT_EQ(l1.decode(frame), State::kRequest);
  EXPECT_EQ(l1.request().operation, kWatchKey);
}

TEST(FrameDecoder, TheMagicWinsOverTheExpectedDialect) {
  FrameDecoder decoder(kLimits, Dialect::kL1);
  EXPECT_EQ(decoder.decode(kMagicOpening), State::kRequest);
  EXPECT_EQ(decoder.dialect(), Dialect::kMagic);
}

TEST(FrameDecoder, RefusesWhatNoTorchSends) {
  for (const std::string_view bytes :
       {std::string_view("GET / HTTP/1.1\r\n"), std::string_view("\x16\x03\x01\x02\x00", 5),
        std::string_view("SSH-2.0-OpenSSH"), std::string_view("\xFF", 1)}) {
    FrameDecoder decoder(kLimits);
    EXPECT_EQ(decoder.decode(bytes), State::kRefused) << bytes;
    EXPECT_EQ(decoder.refusal(), Refusal::kNotTheProtocol);
  }
}

TEST(FrameDecoder, RefusesALengthBeforeItsBytesCome) {
  const auto refusal_of = [](Operation operation, std::initializer_list<uint64_t> words,
                             size_t key_bytes) {
    static StoreLimits limits;
    limits.key_bytes = 16;
    limits.value_bytes = 32;
    limits.count = 4;
    limits.frame_bytes = 100;
    FrameDecoder decoder = magic_decoder(limits);
    std::string frame(1, static_cast<char>(*opcode_of(Dialect::kMagic, operation)));
    for (const uint64_t word : words) {
      append_little(frame, word);
      frame.append(std::exchange(key_bytes, 0), 'k');
    }
    EXPECT_EQ(decoder.decode(frame), State::kRefused);
    return decoder.refusal();
  };
  EXPECT_EQ(refusal_of(kGet, {17}, 0), Refusal::kKeyTooLong);
  EXPECT_EQ(refusal_of(kGet, {UINT64_MAX}, 0), Refusal::kKeyTooLong);
  EXPECT_EQ(refusal_of(kSet, {2, 33}, 2), Refusal::kValueTooLong);
  EXPECT_EQ(refusal_of(kSet, {2, UINT64_MAX - 8}, 2), Refusal::kValueTooLong);
  EXPECT_EQ(refusal_of(kWait, {5}, 0), Refusal::kTooManyKeys);
  EXPECT_EQ(refusal_of(kMultiSet, {UINT64_MAX}, 0), Refusal::kTooManyKeys);
}

TEST(FrameDecoder, RefusesAFrameWhoseFieldsAreAllowedButNotTogether) {
  StoreLimits limits;
  limits.key_bytes = 16;
  limits.frame_bytes = 60;
  FrameDecoder decoder = magic_decoder(limits);
  const std::string key(16, 'k');
  EXPECT_EQ(decoder.decode(encode_request(Dialect::kMagic, kWait, {key, key, key})),
            State::kRefused);
  EXPECT_EQ(decoder.refusal(), Refusal::kFrameTooLong);
}

TEST(FrameDecoder, RefusesAnotherMagicWordAndUnknownOpcodes) {
  FrameDecoder decoder = magic_decoder();
  EXPECT_EQ(decoder.decode(encode_request(Dialect::kMagic, kValidate, {}, 1)), State::kRefused);
  EXPECT_EQ(decoder.refusal(), Refusal::kWrongMagic);
  FrameDecoder newer = magic_decoder();
  EXPECT_EQ(newer.decode("\x13"), State::kRefused);
  EXPECT_EQ(newer.refusal(), Refusal::kUnknownOpcode);
}

}  // namespace
}  // namespace megalaunch
