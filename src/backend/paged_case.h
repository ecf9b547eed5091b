// Sequences whose keys and values lie in shuffled pages: inputs for the tests of store_kv and attention.
#pragma once

#include "backend/test_support.h"

namespace metallic::testing {

struct SequenceShape {
  int32_t position, rows;
};

struct PagedShape {
  std::vector<SequenceShape> sequences;
  int64_t page_tokens;
  int64_t heads, kv_heads, d, dv;
  int32_t window;
  bool causal;
  Format format;
  float alibi = 0;
};

// Queries, and pages filled with every sequence's keys and values, from a seed; the same on any backend.
class PagedCase {
 public:
  PagedCase(Backend& backend, const PagedShape& shape) : backend_(backend), shape_(shape) {
    Random random(21);
    int32_t pages = 3;  // some that nobody uses
    for (const SequenceShape& s : shape.sequences) {
      rows_ += s.rows;
      pages += pages_of(s);
    }
    const std::vector<int32_t> order = random.shuffled(pages);
    size_t next = 0;
    for (const SequenceShape& s : shape.sequences) {
      tables_.emplace_back(order.begin() + int64_t(next), order.begin() + int64_t(next) + pages_of(s));
      next += size_t(pages_of(s));
    }
    query = upload(backend, random.floats(rows_ * shape.heads * shape.d, -2.0f, 2.0f), {rows_, shape.heads, shape.d});
    out = blank(backend, {rows_, shape.heads, shape.dv});
    keys = blank(backend, {pages, shape.kv_heads, shape.page_tokens, shape.d}, shape.format);
    values = blank(backend, {pages, shape.kv_heads, shape.page_tokens, shape.dv}, shape.format);
    int32_t first = 0;
    for (size_t i = 0; i < tables_.size(); ++i) {
      const SequenceShape& s = shape.sequences[i];
      sequences.push_back({first, s.rows, s.position, tables_[i].data()});
      first += s.rows;
      store_all(random, s, tables_[i].data());
    }
  }

  AttentionOp op() const {
    AttentionOp op{query.view, keys.view, values.view, out.view, sequences, 0.3f, shape_.window, shape_.causal};
    op.alibi = shape_.alibi;
    return op;
  }

  // The output of the rows of `some` sequences, others unwritten.
  std::vector<float> attend(std::span<const BatchSequence> some) {
    AttentionOp attention = op();
    attention.sequences = some;
    backend_.attention(attention);
    return download(backend_, out);
  }

  Buffer query, keys, values, out;
  std::vector<BatchSequence> sequences;

 private:
  int32_t pages_of(const SequenceShape& s) const {
    return int32_t((s.position + s.rows + shape_.page_tokens - 1) / shape_.page_tokens);
  }
  // All positions of a sequence, by store_kv.
  void store_all(Random& random, const SequenceShape& s, const int32_t* pages) {
    const int32_t count = s.position + s.rows;
    const Buffer key =
        upload(backend_, random.floats(count * shape_.kv_heads * shape_.d), {count, shape_.kv_heads, shape_.d});
    const Buffer value =
        upload(backend_, random.floats(count * shape_.kv_heads * shape_.dv), {count, shape_.kv_heads, shape_.dv});
    const BatchSequence all{0, count, 0, pages};
    backend_.store_kv({key.view, value.view, keys.view, values.view, {&all, 1}});
  }

  Backend& backend_;
  PagedShape shape_;
  int64_t rows_ = 0;
  std::vector<std::vector<int32_t>> tables_;
};

}  // namespace metallic::testing
