#pragma once

#include <string>
#include <string_view>

namespace megalaunch {

/// The secret that agents of one job share; empty when the job has none. Pure functions over it;
/// see channel_format.md for what is proved and why.

/// 32 hex digits from the system's random source.
std::string fresh_nonce();

/// What node 0 shows an agent. Empty without a key.
std::string leader_proof(std::string_view key, std::string_view agent_nonce,
                         std::string_view leader_nonce, std::string_view job);
/// What an agent shows node 0. Empty without a key.
std::string agent_proof(std::string_view key, std::string_view leader_nonce,
                        std::string_view agent_nonce, std::string_view details);

/// Compares in constant time.
bool same_proof(std::string_view left, std::string_view right);

}  // namespace megalaunch
