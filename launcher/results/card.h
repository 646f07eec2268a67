#pragma once

#include <optional>
#include <string_view>

namespace megalaunch {

/// What a GPU can do at most, without sparsity, as its vendor states it.
struct Card {
  std::string_view name;
  double half_tflops;  ///< bf16 and fp16 with fp32 accumulation
  double fp8_tflops;   ///< 0: the card has no fp8
  std::string_view source;

  /// Peak for "bf16", "fp16" or "fp8"; nothing for other words and for fp8 on a card without it.
  std::optional<double> peak_tflops(std::string_view precision) const;
};

/// The card that a report takes when nothing names one: an H100 with 80 GB, SXM.
const Card& default_card();

/// The card of a name such as "H100", "h20" or the driver's "NVIDIA H100 80GB HBM3". Null when
/// unknown. The result lives as long as the program.
const Card* find_card(std::string_view name);

/// "H100, H200, ...", for messages.
std::string_view known_cards();

}  // namespace megalaunch
