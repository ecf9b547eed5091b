#include "tokenizer/byte_trie.h"

namespace metallic {

void ByteTrie::build(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& entry) { return entry.text.empty(); });
  std::ranges::stable_sort(entries, {}, &Entry::text);
  const auto same = [](const Entry& a, const Entry& b) { return a.text == b.text; };
  entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());

  struct Pending {
    uint32_t begin, end, depth;  // the entries below a node, which share their first `depth` bytes
  };
  std::vector<Pending> pending = {{0, uint32_t(entries.size()), 0}};  // by node
  nodes_.assign(1, Node{});
  labels_.assign(1, 0);
  for (size_t node = 0; node < pending.size(); ++node) {
    auto [at, end, depth] = pending[node];
    nodes_[node].first_child = uint32_t(nodes_.size());
    if (at < end && entries[at].text.size() == depth) nodes_[node].id = entries[at++].id;
    while (at < end) {
      const char label = entries[at].text[depth];
      const uint32_t begin = at;
      while (at < end && entries[at].text[depth] == label) ++at;
      nodes_.push_back({});
      labels_.push_back(uint8_t(label));
      pending.push_back({begin, at, depth + 1});
    }
    nodes_[node].children = uint32_t(nodes_.size()) - nodes_[node].first_child;
  }
  of_first_byte_.fill(kNoNode);
  for (uint32_t child = 0; child < nodes_[kRoot].children; ++child)
    of_first_byte_[labels_[nodes_[kRoot].first_child + child]] = nodes_[kRoot].first_child + child;
}

}  // namespace metallic
