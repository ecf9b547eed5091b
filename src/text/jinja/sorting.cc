#include "text/jinja/sorting.h"

#include <algorithm>
#include <numeric>

#include "text/jinja/access.h"
#include "text/jinja/hash.h"
#include "text/jinja/unicode_text.h"

namespace metallic::jinja {
namespace {

// A merge sort, because the comparison can fail, and may be inconsistent (NaN).
class MergeSort {
 public:
  MergeSort(Runtime& runtime, const ValueList& keys)
      : order(keys.size()), runtime_(runtime), keys_(keys), spare_(keys.size()) {
    std::iota(order.begin(), order.end(), size_t(0));
  }

  Status sort(size_t first, size_t last) {
    if (last - first < 2) return {};
    const size_t middle = first + (last - first) / 2;
    METALLIC_TRY(sort(first, middle));
    METALLIC_TRY(sort(middle, last));
    size_t left = first, right = middle, out = first;
    while (left < middle && right < last) {
      METALLIC_ASSIGN(const bool right_first, less(runtime_, keys_[order[right]], keys_[order[left]]));
      spare_[out++] = right_first ? order[right++] : order[left++];
    }
    while (left < middle) spare_[out++] = order[left++];
    while (right < last) spare_[out++] = order[right++];
    std::copy(spare_.begin() + std::ptrdiff_t(first), spare_.begin() + std::ptrdiff_t(last),
              order.begin() + std::ptrdiff_t(first));
    return {};
  }

  std::vector<size_t> order;  // of the keys

 private:
  Runtime& runtime_;
  const ValueList& keys_;
  std::vector<size_t> spare_;
};

}  // namespace

Result<ValueList> sort_by(Runtime& runtime, const ValueList& items, const ValueList& keys, bool reverse) {
  METALLIC_TRY(runtime.spend_items(items.size()));
  ValueList ordered_keys = keys;
  if (reverse) std::reverse(ordered_keys.begin(), ordered_keys.end());  // equal ones stay in place after all
  MergeSort merge(runtime, ordered_keys);
  METALLIC_TRY(merge.sort(0, items.size()));
  ValueList out;
  out.reserve(items.size());
  for (const size_t index : merge.order) out.push_back(items[reverse ? items.size() - 1 - index : index]);
  if (reverse) std::reverse(out.begin(), out.end());
  return out;
}

Result<Value> key_of(Runtime& runtime, const Value& item, const KeyRule& rule) {
  METALLIC_ASSIGN(Value key, get_path(runtime, item, rule.path, rule.fallback));
  if (!rule.case_sensitive && key.is_string()) {
    METALLIC_TRY(runtime.spend_bytes(key.text().size()));
    return Value(to_lower(key.text()));
  }
  return key;
}

Result<ValueList> keys_of(Runtime& runtime, const ValueList& items, const KeyRule& rule) {
  METALLIC_TRY(runtime.spend_items(items.size()));
  ValueList keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    METALLIC_ASSIGN(Value key, key_of(runtime, item, rule));
    keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace metallic::jinja
