#include "rendezvous/gang/proof.h"

#include <gtest/gtest.h>

#include <set>

namespace megalaunch {
namespace {

TEST(Proof, NoncesAre32HexDigitsAndNeverTheSame) {
  std::set<std::string> all;
  for (int i = 0; i < 1000; ++i) {
    const std::string nonce = fresh_nonce();
    EXPECT_EQ(nonce.size(), 32u);
    EXPECT_EQ(nonce.find_first_not_of("0123456789abcdef"), std::string::npos);
    all.insert(nonce);
  }
  EXPECT_EQ(all.size(), 1000u);
}

TEST(Proof, IsTheHmacOfTheFormatDescription) {  // computed with Python's hmac
  EXPECT_EQ(leader_proof("key", "aa", "bb", "job"),
            "5ef5ed2dd6c89794f8e6887570eb2b59ffd90d252c64087d67b70a6f181593a6");
  EXPECT_EQ(agent_proof("key", "bb", "aa", "{}"),
            "a3b66ee4e62d2ee507f14baaca86e4e2a7d839602f4e7b945ccb6bafe3a9d1bf");
}

TEST(Proof, DependsOnEverythingItProves) {
  const std::set<std::string> all{
      leader_proof("key", "a", "b", "job"), leader_proof("kez", "a", "b", "job"),
      leader_proof("key", "x", "b", "job"), leader_proof("key", "a", "x", "job"),
      leader_proof("key", "a", "b", "jox"), agent_proof("key", "a", "b", "job"),
      agent_proof("key", "b", "a", "job")};
  EXPECT_EQ(all.size(), 7u);
}

TEST(Proof, WithoutAKeyThereIsNone) {
  EXPECT_EQ(leader_proof("", "a", "b", "job"), "");
  EXPECT_EQ(agent_proof("", "a", "b", "{}"), "");
}

TEST(Proof, ComparesByContentAndLength) {
  EXPECT_TRUE(same_proof("", ""));
  EXPECT_TRUE(same_proof("abc", "abc"));
  EXPECT_FALSE(same_proof("abc", "abd"));
  EXPECT_FALSE(same_proof("abc", "ab"));
  EXPECT_FALSE(same_proof("", "a"));
}

}  // namespace
}  // namespace megalaunch
