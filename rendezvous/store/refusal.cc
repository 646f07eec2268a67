#include "rendezvous/store/refusal.h"

namespace megalaunch {

std::string_view describe(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNotTheProtocol:
      return "first bytes that no torch client sends";
    case Refusal::kUnknownOpcode:
      return "unknown opcode";
    case Refusal::kWrongMagic:
      return "wrong magic word";
    case Refusal::kKeyTooLong:
      return "key beyond the limit";
    case Refusal::kValueTooLong:
      return "value beyond the limit";
    case Refusal::kTooManyKeys:
      return "more keys in one request than the limit";
    case Refusal::kFrameTooLong:
      return "request beyond the limit";
    case Refusal::kNotANumber:
      return "ADD on a value that is not a number";
    case Refusal::kReplyTooLong:
      return "reply beyond the limit of queued bytes";
    case Refusal::kQueueFull:
      return "does not read what it is sent";
    case Refusal::kOutOfMemory:
      return "the store's memory limit is reached";
    case Refusal::kNoFirstBytes:
      return "sent nothing in time";
    case Refusal::kHalfFrame:
      return "sent half a request and no more in time";
    case Refusal::kStalledReply:
      return "took none of its replies in time";
    case Refusal::kTooManyConnections:
      return "too many connections";
    case Refusal::kUnknownAddress:
      return "address of no node of this job";
  }
  return "unknown reason";
}

}  // namespace megalaunch
