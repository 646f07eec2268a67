#include "rendezvous/store/frame_decoder.h"

namespace megalaunch {
namespace {

constexpr size_t kLengthBytes = sizeof(uint64_t);
constexpr uint8_t kDeleteOrAppend = 8;  // L1 and L2 disagree

/// Reads the fields of a frame that the scan found whole.
class FieldReader {
 public:
  explicit FieldReader(std::string_view frame) : frame_(frame) {}

  template <class Integer>
  Integer integer() {
    const auto value = load_little<Integer>(frame_.data() + at_);
    at_ += sizeof(Integer);
    return value;
  }
  std::string_view counted() {
    const auto length = integer<uint64_t>();
    const auto bytes = frame_.substr(at_, length);
    at_ += length;
    return bytes;
  }
  FieldList list(size_t fields_per_entry) {
    const auto count = integer<uint64_t>();
    return {frame_.substr(at_), count * fields_per_entry};
  }

 private:
  std::string_view frame_;
  size_t at_ = 1;
};

}  // namespace

void FrameDecoder::restart() {
  begun_ = false;
  is_value_ = false;
  field_ = 0;
  remaining_.reset();
  at_ = 0;
  needed_ = 1;
}

FrameDecoder::State FrameDecoder::refuse_frame(Refusal refusal) {
  refusal_ = refusal;
  return State::kRefused;
}

// Moves over `count` bytes if they are there; otherwise says how many are needed.
bool FrameDecoder::take(std::string_view bytes, size_t count) {
  if (bytes.size() - at_ < count) {
    needed_ = at_ + count;
    return false;
  }
  at_ += count;
  return true;
}

// kRequest here means: the field is whole.
FrameDecoder::State FrameDecoder::take_counted(std::string_view bytes, size_t limit,
                                               Refusal too_long) {
  if (bytes.size() - at_ < kLengthBytes) {
    needed_ = at_ + kLengthBytes;
    return State::kNeedMore;
  }
  const auto length = load_little<uint64_t>(bytes.data() + at_);
  if (length > limit) return refuse_frame(too_long);
  if (length > limits_->frame_bytes || at_ + kLengthBytes + length > limits_->frame_bytes)
    return refuse_frame(Refusal::kFrameTooLong);
  return take(bytes, kLengthBytes + length) ? State::kRequest : State::kNeedMore;
}

// kRequest here means: the dialect is known.
FrameDecoder::State FrameDecoder::detect(std::string_view bytes) {
  const auto opening = bytes.substr(0, kMagicOpening.size());
  if (opening == kMagicOpening) {
    dialect_ = Dialect::kMagic;
    return State::kRequest;
  }
  // "00 CE" may still become the magic; "00" alone may also be a legacy SET.
  if (kMagicOpening.starts_with(opening)) {
    needed_ = opening.size() + 1;
    return State::kNeedMore;
  }
  dialect_ = expected_ == Dialect::kL1 || expected_ == Dialect::kL2 ? *expected_ : Dialect::kLegacy;
  if (!operation_of(*dialect_, static_cast<uint8_t>(bytes[0])))
    return refuse_frame(Refusal::kNotTheProtocol);
  return State::kRequest;
}

// Reads the opcode. kRequest here means: the operation is known.
FrameDecoder::State FrameDecoder::begin(std::string_view bytes) {
  const auto opcode = static_cast<uint8_t>(bytes[0]);
  const auto operation = operation_of(*dialect_, opcode);
  if (!operation) return refuse_frame(Refusal::kUnknownOpcode);
  // Opcodes that only L2 has end the doubt.
  if (dialect_ == Dialect::kLegacy && opcode > kDeleteOrAppend) dialect_ = Dialect::kL2;
  operation_ = *operation;
  begun_ = true;
  at_ = 1;
  return State::kRequest;
}

FrameDecoder::State FrameDecoder::decode(std::string_view bytes) {
  if (bytes.empty()) return State::kNeedMore;
  if (!dialect_)
    if (const auto state = detect(bytes); state != State::kRequest) return state;
  if (!begun_)
    if (const auto state = begin(bytes); state != State::kRequest) return state;

  const auto fields = fields_of(operation_);
  while (field_ < fields.size()) {
    switch (fields[field_]) {
      case 'W':
        if (!take(bytes, sizeof(uint32_t))) return State::kNeedMore;
        break;
      case 'I':
        if (!take(bytes, sizeof(int64_t))) return State::kNeedMore;
        break;
      case 'S':
        if (const auto state = take_counted(bytes, limits_->key_bytes, Refusal::kKeyTooLong);
            state != State::kRequest)
          return state;
        break;
      case 'V':
        if (dialect_ == Dialect::kLegacy && operation_ == Operation::kAppend &&
            bytes.size() == at_) {
          needed_ = at_;
          return State::kAmbiguous;
        }
        if (const auto state = take_counted(bytes, limits_->value_bytes, Refusal::kValueTooLong);
            state != State::kRequest)
          return state;
        break;
      default: {  // N or P
        const bool pairs = fields[field_] == 'P';
        if (!remaining_) {
          if (!take(bytes, kLengthBytes)) return State::kNeedMore;
          const auto count = load_little<uint64_t>(bytes.data() + at_ - kLengthBytes);
          if (count > limits_->count) return refuse_frame(Refusal::kTooManyKeys);
          remaining_ = count * (pairs ? 2 : 1);
        }
        for (; *remaining_ > 0; --*remaining_) {
          const auto state = is_value_
                                 ? take_counted(bytes, limits_->value_bytes, Refusal::kValueTooLong)
                                 : take_counted(bytes, limits_->key_bytes, Refusal::kKeyTooLong);
          if (state != State::kRequest) return state;
          is_value_ = pairs && !is_value_;
        }
        break;
      }
    }
    ++field_;
  }
  return finish(bytes.substr(0, at_));
}

FrameDecoder::State FrameDecoder::finish(std::string_view frame) {
  // `08 <key> <more>` can only be an APPEND.
  if (dialect_ == Dialect::kLegacy && operation_ == Operation::kAppend) dialect_ = Dialect::kL2;
  frame_bytes_ = frame.size();
  request_ = Request{};
  request_.operation = operation_;
  FieldReader reader(frame);
  switch (operation_) {
    case Operation::kValidate:
    case Operation::kPing:
      request_.word = reader.integer<uint32_t>();
      break;
    case Operation::kCheck:
    case Operation::kWait:
    case Operation::kMultiGet:
      request_.list = reader.list(1);
      break;
    case Operation::kMultiSet:
      request_.list = reader.list(2);
      break;
    case Operation::kKeyCount:
    case Operation::kCancelWait:
    case Operation::kListKeys:
      break;
    case Operation::kAdd:
    case Operation::kBarrier:
      request_.key = reader.counted();
      request_.number = reader.integer<int64_t>();
      break;
    case Operation::kSet:
    case Operation::kAppend:
    case Operation::kQueuePush:
      request_.key = reader.counted();
      request_.value = reader.counted();
      break;
    case Operation::kCompareSet:
      request_.key = reader.counted();
      request_.value = reader.counted();
      request_.desired = reader.counted();
      break;
    case Operation::kGet:
    case Operation::kDelete:
    case Operation::kQueuePop:
    case Operation::kQueueLength:
    case Operation::kWatchKey:
      request_.key = reader.counted();
      break;
  }
  if (operation_ == Operation::kValidate && request_.word != kMagicWord)
    return refuse_frame(Refusal::kWrongMagic);
  restart();
  return State::kRequest;
}

}  // namespace megalaunch
