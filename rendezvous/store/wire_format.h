#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace megalaunch {

// The wire of torch's c10d TCPStore, shared by everyone who reads or writes it. wire_format.md
// beside this file has the byte order, the grammar, the dialects, the limits, examples, and where
// we differ from torch's own server.

/// Which opcode table a connection speaks.
enum class Dialect : uint8_t {
  kLegacy,  ///< L1 or L2, not known yet: they differ only in opcodes 7 and above
  kL1,      ///< torch 1.13 and 2.0
  kL2,      ///< torch 2.1
  kMagic,   ///< torch 2.2 and later; a connection starts with VALIDATE and the magic word
};

enum class Operation : uint8_t {
  kValidate,
  kSet,
  kCompareSet,
  kGet,
  kAdd,
  kCheck,
  kWait,
  kKeyCount,
  kDelete,
  kAppend,
  kMultiGet,
  kMultiSet,
  kCancelWait,
  kPing,
  kQueuePush,
  kQueuePop,
  kQueueLength,
  kListKeys,
  kBarrier,
  kWatchKey,
};
inline constexpr int kOperationCount = 20;

/// First word of a kMagic connection, after the VALIDATE opcode: 00 CE F7 85 3C.
inline constexpr uint32_t kMagicWord = 0x3C85F7CE;
inline constexpr std::string_view kMagicOpening{"\x00\xCE\xF7\x85\x3C", 5};

// One-byte replies.
inline constexpr char kReady = 0;         ///< CHECK: every key exists
inline constexpr char kNotReady = 1;      ///< CHECK: at least one does not
inline constexpr char kStopWaiting = 0;   ///< WAIT, BARRIER
inline constexpr char kWaitCanceled = 1;  ///< CANCEL_WAIT
inline constexpr char kWatching = 3;      ///< WATCH_KEY is registered

/// First byte of what a watcher is sent (L1 only).
enum class KeyChange : char { kUpdated = 0, kCreated = 1, kDeleted = 2 };

/// The fields of a request after its opcode: S string, V blob (both u64 length, then bytes), I i64,
/// W u32, N u64 count and that many S, P u64 count and that many pairs S V.
constexpr std::string_view fields_of(Operation operation) {
  switch (operation) {
    case Operation::kValidate:
    case Operation::kPing:
      return "W";
    case Operation::kKeyCount:
    case Operation::kCancelWait:
    case Operation::kListKeys:
      return "";
    case Operation::kGet:
    case Operation::kDelete:
    case Operation::kQueuePop:
    case Operation::kQueueLength:
    case Operation::kWatchKey:
      return "S";
    case Operation::kSet:
    case Operation::kAppend:
    case Operation::kQueuePush:
      return "SV";
    case Operation::kCompareSet:
      return "SVV";
    case Operation::kAdd:
    case Operation::kBarrier:
      return "SI";
    case Operation::kCheck:
    case Operation::kWait:
    case Operation::kMultiGet:
      return "N";
    case Operation::kMultiSet:
      return "P";
  }
  return "";
}

namespace wire_detail {
using enum Operation;
// Index = opcode.
inline constexpr std::array kLegacyTable{kSet, kCompareSet, kGet, kAdd, kCheck, kWait, kKeyCount};
inline constexpr std::array kL1Table{kWatchKey, kDelete};  // from 7
inline constexpr std::array kL2Table{kDelete, kAppend, kMultiGet, kMultiSet,
                                     kCancelWait};  // from 7
inline constexpr std::array kMagicTable{kValidate, kSet,         kCompareSet, kGet,    kAdd,
                                        kCheck,    kWait,        kKeyCount,   kDelete, kAppend,
                                        kMultiGet, kMultiSet,    kCancelWait, kPing,   kQueuePush,
                                        kQueuePop, kQueueLength, kListKeys,   kBarrier};

template <class Table>
constexpr std::optional<Operation> look_up(const Table& table, size_t index) {
  if (index >= table.size()) return std::nullopt;
  return table[index];
}
}  // namespace wire_detail

/// The operation that `opcode` means; nothing when the dialect has no such opcode. For kLegacy, 7
/// and above mean what they mean in L2 (8 is really open: see FrameDecoder).
constexpr std::optional<Operation> operation_of(Dialect dialect, uint8_t opcode) {
  using namespace wire_detail;
  if (dialect == Dialect::kMagic) return look_up(kMagicTable, opcode);
  if (opcode < kLegacyTable.size()) return kLegacyTable[opcode];
  const size_t rest = opcode - kLegacyTable.size();
  return dialect == Dialect::kL1 ? look_up(kL1Table, rest) : look_up(kL2Table, rest);
}

/// The opcode of `operation`; nothing when the dialect does not have it.
constexpr std::optional<uint8_t> opcode_of(Dialect dialect, Operation operation) {
  for (uint8_t opcode = 0; opcode < kOperationCount; ++opcode)
    if (operation_of(dialect, opcode) == operation) return opcode;
  return std::nullopt;
}

/// Integers are little-endian whatever the machine.
template <class Integer>
Integer load_little(const char* from) {
  Integer value;
  std::memcpy(&value, from, sizeof(value));
  if constexpr (std::endian::native == std::endian::big) {
    auto* bytes = reinterpret_cast<unsigned char*>(&value);
    for (size_t i = 0; i < sizeof(value) / 2; ++i)
      std::swap(bytes[i], bytes[sizeof(value) - 1 - i]);
  }
  return value;
}

template <class Integer>
void append_little(std::string& to, Integer value) {
  for (size_t i = 0; i < sizeof(value); ++i)
    to.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
}

/// A string or blob: its length as u64, then its bytes.
inline void append_counted(std::string& to, std::string_view bytes) {
  append_little<uint64_t>(to, bytes.size());
  to.append(bytes);
}

}  // namespace megalaunch
