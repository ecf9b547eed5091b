// A set of byte strings with an id each, to walk byte by byte: which of them begin at a place of a text.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "metallic/tokenizer.h"

namespace metallic {

// Immutable after build().
class ByteTrie {
 public:
  struct Entry {
    std::string_view text;
    TokenId id;
  };
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNoNode = 0;  // no edge leads to the root

  // Entries with an empty text are left out; of equal texts the first stays.
  void build(std::vector<Entry> entries);

  // The node that `byte` leads to, or kNoNode.
  uint32_t step(uint32_t node, char byte) const {
    if (node == kRoot) return of_first_byte_[uint8_t(byte)];
    const Node& from = nodes_[node];
    if (from.children == 0) return kNoNode;
    const void* found = std::memchr(labels_.data() + from.first_child, uint8_t(byte), from.children);
    return found == nullptr ? kNoNode : uint32_t(static_cast<const uint8_t*>(found) - labels_.data());
  }
  TokenId id(uint32_t node) const { return nodes_[node].id; }  // kNoToken if no string ends here

 private:
  struct Node {
    uint32_t first_child = 0, children = 0;
    TokenId id = kNoToken;
  };
  std::vector<Node> nodes_;      // breadth first: the children of a node stand together
  std::vector<uint8_t> labels_;  // of the edge that leads to each node
  std::array<uint32_t, 256> of_first_byte_{};
};

}  // namespace metallic
