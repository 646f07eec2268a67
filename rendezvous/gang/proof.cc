#include "rendezvous/gang/proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <initializer_list>
#include <stdexcept>

namespace megalaunch {
namespace {

std::string hex(const unsigned char* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    text.push_back(kDigits[bytes[i] >> 4]);
    text.push_back(kDigits[bytes[i] & 15]);
  }
  return text;
}

std::string hmac(std::string_view key, std::initializer_list<std::string_view> parts) {
  if (key.empty()) return {};
  std::string message;
  for (const std::string_view part : parts) {
    if (!message.empty()) message.push_back('\n');
    message.append(part);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest.data(),
             &size) == nullptr)
    throw std::runtime_error("HMAC-SHA256 is not available in this OpenSSL");
  return hex(digest.data(), size);
}

}  // namespace

std::string fresh_nonce() {
  std::array<unsigned char, 16> bytes{};
  if (::RAND_bytes(bytes.data(), bytes.size()) != 1)
    throw std::runtime_error("no random numbers from OpenSSL");
  return hex(bytes.data(), bytes.size());
}

std::string leader_proof(std::string_view key, std::string_view agent_nonce,
                         std::string_view leader_nonce, std::string_view job) {
  return hmac(key, {"megalaunch node 0", agent_nonce, leader_nonce, job});
}

std::string agent_proof(std::string_view key, std::string_view leader_nonce,
                        std::string_view agent_nonce, std::string_view details) {
  return hmac(key, {"megalaunch agent", leader_nonce, agent_nonce, details});
}

bool same_proof(std::string_view left, std::string_view right) {
  return left.size() == right.size() &&
         ::CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace megalaunch
