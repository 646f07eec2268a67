#include "launcher/results/card.h"

#include <algorithm>
#include <array>
#include <string>

#include "env/ascii.h"

namespace megalaunch {
namespace {

constexpr std::string_view kHopper =
    "NVIDIA H100 Tensor Core GPU Architecture, SXM5 without sparsity";

// Longer names first where one contains another: find_card takes the first that occurs.
constexpr std::array kCards{
    Card{"H100 PCIe", 756.0, 1513.0, "NVIDIA H100 PCIe data sheet, half of the sparse figures"},
    Card{"H100", 989.4, 1978.9, kHopper},
    Card{"H200", 989.4, 1978.9, "NVIDIA H200 data sheet, half of the sparse figures"},
    Card{"H800", 989.4, 1978.9, "as H100 SXM; H800 differs in NVLink and fp64 only"},
    Card{"H20", 148.0, 296.0, "NVIDIA H20 data sheet"},
    Card{"A100", 312.0, 0.0, "NVIDIA A100 data sheet"},
    Card{"A800", 312.0, 0.0, "as A100; A800 differs in NVLink only"},
    Card{"GB200", 2500.0, 5000.0,
         "NVIDIA GB200 NVL72 data sheet, half of the sparse figures per GPU"},
    Card{"B200", 2250.0, 4500.0, "NVIDIA HGX B200 data sheet, half of the sparse figures per GPU"},
    Card{"L40S", 362.0, 733.0, "NVIDIA L40S data sheet, half of the sparse figures"},
};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/// Whether `word` stands in `text` with no letter or digit around it: H20 is not in "H200".
bool has_word(const std::string& text, const std::string& word) {
  for (std::size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !is_letter_or_digit(text[at - 1])) &&
        (end == text.size() || !is_letter_or_digit(text[end])))
      return true;
  }
  return false;
}

}  // namespace

std::optional<double> Card::peak_tflops(std::string_view precision) const {
  if (precision == "bf16" || precision == "fp16") return half_tflops;
  if (precision == "fp8" && fp8_tflops > 0) return fp8_tflops;
  return std::nullopt;
}

const Card& default_card() {
  return *std::ranges::find_if(kCards, [](const Card& card) { return card.name == "H100"; });
}

const Card* find_card(std::string_view name) {
  const std::string text = ascii_lower(name);
  const auto found = std::ranges::find_if(
      kCards, [&](const Card& card) { return has_word(text, ascii_lower(card.name)); });
  return found == kCards.end() ? nullptr : &*found;
}

std::string_view known_cards() {
  static const std::string names = [] {
    std::string list;
    for (const Card& card : kCards) list += (list.empty() ? "" : ", ") + std::string(card.name);
    return list;
  }();
  return names;
}

}  // namespace megalaunch
