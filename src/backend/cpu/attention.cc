// Grouped-query attention over KV pages. A thread takes the queries of one group of heads (and some rows) of a
// sequence, so that each key and value is read and converted once for all of them, and goes through the context in
// chunks: scores, softmax and weighted sum of one chunk, then the chunks one after the other (arXiv:1805.02867).
//
// Where the processor multiplies pairs of bfloat16, keys and values of fewer bits than float32 are rounded to it, and
// so are queries and weights: twice the products an instruction, and half the shuffling for keys.
//
// The chunks begin at multiples of kAttentionChunk, whoever computes them: where there are few queries and a long
// context, the chunks are shared out among the threads and put together in the same order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/alibi.h"
#include "backend/cpu/cpu.h"
#include "backend/strided.h"

namespace metallic::cpu {
namespace {

constexpr int64_t kScoreStride = kAttentionChunk + 16;  // floats; a last tile may write past the chunk
constexpr int64_t kLoad = 64;                           // positions converted at a time
constexpr int64_t kQueries = 96;                        // queries of an item, about

// The softmax of some positions, not yet divided: out = sum of e^(score - highest) * value.
struct Partial {
  float* highest;  // (queries)
  float* sum;      // (queries)
  float* out;      // (queries, padded dv)
};

class Attention {
 public:
  // `bfloat`: null to compute in float.
  Attention(const AttentionOp& op, const Kernels& kernels, const BfloatKernels* bfloat)
      : op_(op),
        kernels_(kernels),
        bfloat_(bfloat),
        group_(op.query.shape[1] / op.keys.shape[1]),
        page_tokens_(op.keys.shape[2]),
        key_width_(round_up(op.keys.shape[3], bfloat != nullptr ? bfloat->step : kernels.width)),
        value_width_(round_up(op.values.shape[3], kernels.width)) {}

  int64_t item_rows() const { return std::max<int64_t>(1, kQueries / group_); }
  int64_t group() const { return group_; }

  AttentionItem item(const BatchSequence& sequence, int64_t kv_head, int64_t first_row) const {
    const int64_t rows = std::min(item_rows(), sequence.rows - first_row);
    return {&sequence, kv_head, first_row, rows, begin_of(sequence, first_row), end_of(sequence, first_row + rows - 1)};
  }

  // Memory of a thread: the queries, scores, loaded rows and turned keys of a chunk, and two partial results.
  int64_t scratch_floats() const {
    const int64_t queries = item_rows() * group_;
    return queries * (key_width_ + kScoreStride) + 2 * kLoad * widest() + 2 * partial_floats(queries);
  }
  int64_t partial_floats(int64_t queries) const { return queries * value_width_ + round_up(2 * queries, 16); }
  Partial partial(float* memory, int64_t queries) const {
    return {memory + queries * value_width_, memory + queries * value_width_ + queries, memory};
  }

  // One chunk of an item's positions.
  void chunk(const AttentionItem& item, int64_t chunk, float* scratch, const Partial& result) const;
  // Adds `part` to `total`, in the order of the calls; the first must find total.sum all 0.
  void merge(const Partial& total, const Partial& part, int64_t queries) const;
  void store(const AttentionItem& item, const Partial& total) const;
  // All chunks of an item.
  void whole(const AttentionItem& item, float* scratch) const;
  // The same in two steps: one chunk into `memory`; and all of them, `stride` floats apart, put together in `total`.
  void part(const AttentionItem& item, int64_t chunk, float* scratch, float* memory) const;
  void join(const AttentionItem& item, float* parts, int64_t stride, float* total) const;

 private:
  // The positions [begin, end) that a query sees; a window that is not causal looks both ways.
  int64_t begin_of(const BatchSequence& sequence, int64_t row) const {
    if (op_.window == 0) return 0;
    const int64_t position = sequence.position + row;
    return std::max<int64_t>(0, op_.causal ? position - op_.window + 1 : position - op_.window / 2);
  }
  int64_t end_of(const BatchSequence& sequence, int64_t row) const {
    const int64_t position = sequence.position + row, known = int64_t(sequence.position) + sequence.rows;
    if (op_.causal) return position + 1;
    return op_.window == 0 ? known : std::min(known, position + op_.window / 2 + 1);
  }
  int64_t widest() const { return std::max(key_width_, value_width_); }
  void load_queries(const AttentionItem& item, float* out) const;
  void load_rows(const TensorView& pages, const AttentionItem& item, int64_t begin, int64_t count, int64_t width,
                 float* out) const;
  void prefetch_rows(const TensorView& pages, const AttentionItem& item, int64_t begin, int64_t end) const;
  void softmax(const AttentionItem& item, int64_t begin, int64_t end, float* scores, const Partial& result) const;
  void cap(float* x, int64_t count) const;
  void add_bias(int64_t head, int64_t position, int64_t from, int64_t to, float* scores) const;
  void load_keys(const AttentionItem& item, int64_t begin, int64_t count, float* rows, float* out) const;
  const float* load_values(const AttentionItem& item, int64_t begin, int64_t count, float* rows, float* pairs) const;
  void multiply(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t rows, int64_t count,
                int64_t vectors, float* out, int64_t out_stride) const;

  const AttentionOp& op_;
  const Kernels& kernels_;
  const BfloatKernels* bfloat_;
  int64_t group_;  // query heads of one KV head
  int64_t page_tokens_;
  int64_t key_width_, value_width_;  // padded to whole vectors
};

// The scaled queries; in pairs, each takes half of its row.
void Attention::load_queries(const AttentionItem& item, float* out) const {
  const int64_t columns = op_.query.shape[2];
  for (int64_t t = 0; t < item.rows * group_; ++t) {
    const int64_t row = item.sequence->first_row + item.first_row + t / group_;
    float* query = out + t * key_width_;
    kernels_.scale(float_at(op_.query, row, item.kv_head * group_ + t % group_), columns, op_.scale, query);
    if (bfloat_ != nullptr) bfloat_->pair_columns(query, columns, query);
  }
}

// Positions begin, begin + 1, ... of the item's head as floats, `width` floats a row; zeros after the last column and
// in the rows that fill the last vector.
void Attention::load_rows(const TensorView& pages, const AttentionItem& item, int64_t begin, int64_t count,
                          int64_t width, float* out) const {
  const DequantizeRow convert = dequantize_function(pages.format);
  const int64_t columns = pages.shape[3];
  const bool dense = width == columns && uint64_t(pages.stride[2]) == *format_bytes(pages.format, uint64_t(columns));
  for (int64_t i = 0; i < count;) {
    const int64_t position = begin + i, in_page = position % page_tokens_;
    const int64_t rows = std::min(count - i, page_tokens_ - in_page);
    const float* from = float_at(pages, item.sequence->pages[position / page_tokens_], item.kv_head, in_page);
    if (dense) {
      convert(from, rows * columns, out + i * width);
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        float* to = out + (i + r) * width;
        convert(reinterpret_cast<const std::byte*>(from) + r * pages.stride[2], columns, to);
        std::fill(to + columns, to + width, 0.0f);
      }
    }
    i += rows;
  }
  std::fill(out + count * width, out + round_up(count, kernels_.width) * width, 0.0f);
}

// The rows that load_rows() will read, into the second-level cache: pages lie anywhere, so nothing else foresees them.
void Attention::prefetch_rows(const TensorView& pages, const AttentionItem& item, int64_t begin, int64_t end) const {
  constexpr int64_t kLine = 64;
  for (int64_t position = begin; position < end;) {
    const int64_t in_page = position % page_tokens_, rows = std::min(end - position, page_tokens_ - in_page);
    const auto* from = reinterpret_cast<const std::byte*>(
        float_at(pages, item.sequence->pages[position / page_tokens_], item.kv_head, in_page));
    for (int64_t at = 0; at < rows * pages.stride[2]; at += kLine) __builtin_prefetch(from + at, 0, 2);
    position += rows;
  }
}

// Turns the scores of positions [begin, end) into weights e^(score - highest), 0 where a query does not look; in pairs,
// they take half of their rows.
void Attention::softmax(const AttentionItem& item, int64_t begin, int64_t end, float* scores,
                        const Partial& result) const {
  for (int64_t t = 0; t < item.rows * group_; ++t) {
    const int64_t row = item.first_row + t / group_;
    const int64_t from = std::clamp(begin_of(*item.sequence, row), begin, end);
    const int64_t to = std::clamp(end_of(*item.sequence, row), from, end);
    float* weights = scores + t * kScoreStride;
    if (op_.softcap > 0) cap(weights + (from - begin), to - from);
    if (op_.alibi > 0)
      add_bias(item.kv_head * group_ + t % group_, item.sequence->position + row, from, to, weights - begin);
    result.highest[t] = kernels_.maximum(weights + (from - begin), to - from);
    result.sum[t] = kernels_.exp_sum(weights + (from - begin), to - from, result.highest[t], weights + (from - begin));
    std::fill(weights, weights + (from - begin), 0.0f);
    std::fill(weights + (to - begin), weights + (end - begin), 0.0f);
    if (bfloat_ != nullptr) bfloat_->pair_columns(weights, end - begin, weights);
  }
}

// x = softcap * tanh(x / softcap)
void Attention::cap(float* x, int64_t count) const {
  kernels_.scale(x, count, 1.0f / op_.softcap, x);
  kernels_.activate(Activation::kTanh, x, nullptr, count, x);
  kernels_.scale(x, count, op_.softcap, x);
}

// scores[p] of the keys at p in [from, to) lose by their distance from the query (alibi.h).
void Attention::add_bias(int64_t head, int64_t position, int64_t from, int64_t to, float* scores) const {
  const float slope = alibi_slope(op_.alibi, op_.query.shape[1], head);
  for (int64_t p = from; p < to; ++p) scores[p] -= slope * float(std::abs(position - p));
}

// out (rows, vectors * width) += a (rows, count) * b (count, vectors * width). Each a lies a_stride floats behind the
// one before, and so on. In pairs, a row of a and two rows of b have half as many words.
void Attention::multiply(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t rows,
                         int64_t count, int64_t vectors, float* out, int64_t out_stride) const {
  const int64_t tiles = tile_count(rows, kOuterRows);
  for (int64_t v = 0; v < vectors;) {
    const int64_t wide = std::min<int64_t>(kernels_.outer_vectors, vectors - v), column = v * kernels_.width;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile_begin(rows, tiles, tile), height = tile_begin(rows, tiles, tile + 1) - first;
      const float *from = a + first * a_stride, *columns = b + column;
      float* to = out + first * out_stride + column;
      if (bfloat_ != nullptr)
        bfloat_->pair[height][wide]({from, a_stride, columns, b_stride, tile_count(count, 2), to, out_stride});
      else
        kernels_.outer[height][wide]({from, a_stride, 1, columns, b_stride, count, to, out_stride});
    }
    v += wide;
  }
}

// The keys of positions begin, begin + 1, ... side by side: (key width, kLoad); in pairs, half as many rows. `rows` is
// working memory.
void Attention::load_keys(const AttentionItem& item, int64_t begin, int64_t count, float* rows, float* out) const {
  load_rows(op_.keys, item, begin, count, key_width_, rows);
  const int64_t width = bfloat_ != nullptr ? key_width_ / 2 : key_width_;  // in words
  if (bfloat_ != nullptr) bfloat_->pair_columns(rows, round_up(count, kernels_.width) * key_width_, rows);
  for (int64_t i = 0; i < count; i += kernels_.width)
    kernels_.transpose(rows + i * width, width, width, out + i, kLoad);
}

// The values of positions begin, begin + 1, ...: (kLoad, value width); in pairs, half as many rows. Returns where they
// are: in one of two pieces of working memory.
const float* Attention::load_values(const AttentionItem& item, int64_t begin, int64_t count, float* rows,
                                    float* pairs) const {
  load_rows(op_.values, item, begin, count, value_width_, rows);
  if (bfloat_ == nullptr) return rows;
  bfloat_->pair_rows(rows, value_width_, tile_count(count, 2), pairs);
  return pairs;
}

void Attention::chunk(const AttentionItem& item, int64_t chunk, float* scratch, const Partial& result) const {
  const int64_t queries = item.rows * group_, key_columns = op_.query.shape[2];
  // Pairs begin at even positions, whatever the queries see, so that sums have one order.
  const int64_t begin = std::max(item.begin / 2 * 2, chunk * kAttentionChunk),
                end = std::min(item.end, (chunk + 1) * kAttentionChunk);
  const int64_t words_of_floats = bfloat_ != nullptr ? 2 : 1;
  const float* query = scratch;
  float* scores = scratch + queries * key_width_;
  float* loaded = scores + queries * kScoreStride;
  float* turned = loaded + kLoad * widest();

  std::fill_n(scores, queries * kScoreStride, 0.0f);
  for (int64_t at = begin; at < end; at += kLoad) {
    const int64_t count = std::min(kLoad, end - at);
    prefetch_rows(op_.keys, item, at + count, std::min(end, at + 2 * kLoad));
    prefetch_rows(op_.values, item, at, at + count);
    load_keys(item, at, count, loaded, turned);
    multiply(query, key_width_, turned, kLoad, queries, key_columns, tile_count(count, kernels_.width),
             scores + (at - begin), kScoreStride);
  }
  softmax(item, begin, end, scores, result);
  std::fill_n(result.out, queries * value_width_, 0.0f);
  for (int64_t at = begin; at < end; at += kLoad) {
    const int64_t count = std::min(kLoad, end - at);
    const float* values = load_values(item, at, count, loaded, turned);
    multiply(scores + (at - begin) / words_of_floats, kScoreStride, values, value_width_, queries, count,
             value_width_ / kernels_.width, result.out, value_width_);
  }
}

void Attention::merge(const Partial& total, const Partial& part, int64_t queries) const {
  for (int64_t t = 0; t < queries; ++t) {
    float* out = total.out + t * value_width_;
    const float* in = part.out + t * value_width_;
    if (part.sum[t] == 0.0f) continue;  // sees nothing of this part; a NaN goes on
    if (total.sum[t] == 0.0f) {
      std::copy_n(in, value_width_, out);
      total.highest[t] = part.highest[t];
      total.sum[t] = part.sum[t];
      continue;
    }
    const float highest = std::max(total.highest[t], part.highest[t]);
    const float a = std::exp(total.highest[t] - highest), b = std::exp(part.highest[t] - highest);
    kernels_.blend(out, a, in, b, value_width_);
    total.sum[t] = total.sum[t] * a + part.sum[t] * b;
    total.highest[t] = highest;
  }
}

void Attention::store(const AttentionItem& item, const Partial& total) const {
  for (int64_t t = 0; t < item.rows * group_; ++t) {
    const int64_t head = item.kv_head * group_ + t % group_;
    float factor = 1.0f / total.sum[t];
    if (op_.sinks != nullptr) {
      const float highest = std::max(total.highest[t], op_.sinks[head]);
      const float own = std::exp(total.highest[t] - highest);
      factor = own / (total.sum[t] * own + std::exp(op_.sinks[head] - highest));
    }
    kernels_.scale(total.out + t * value_width_, op_.values.shape[3], factor,
                   float_at(op_.out, item.sequence->first_row + item.first_row + t / group_, head));
  }
}

void Attention::whole(const AttentionItem& item, float* scratch) const {
  const int64_t queries = item.rows * group_;
  const Partial total = partial(scratch, queries);
  const Partial part = partial(scratch + partial_floats(queries), queries);
  float* rest = scratch + 2 * partial_floats(queries);
  std::fill_n(total.sum, queries, 0.0f);
  load_queries(item, rest);
  for (int64_t i = 0; i < item.chunks(); ++i) {
    chunk(item, item.first_chunk() + i, rest, part);
    merge(total, part, queries);
  }
  store(item, total);
}

void Attention::part(const AttentionItem& item, int64_t i, float* scratch, float* memory) const {
  load_queries(item, scratch);
  chunk(item, item.first_chunk() + i, scratch, partial(memory, item.rows * group_));
}

void Attention::join(const AttentionItem& item, float* parts, int64_t stride, float* memory) const {
  const int64_t queries = item.rows * group_;
  const Partial total = partial(memory, queries);
  std::fill_n(total.sum, queries, 0.0f);
  for (int64_t i = 0; i < item.chunks(); ++i) merge(total, partial(parts + i * stride, queries), queries);
  store(item, total);
}

}  // namespace

void CpuBackend::attention(const AttentionOp& op) {
  const bool rounded = integers_ && op.keys.format != Format::kF32 && op.values.format != Format::kF32;
  const Attention attention(op, kernels_, rounded ? kernels_.bfloat : nullptr);
  std::vector<AttentionItem>& items = attention_items_;
  items.clear();
  int64_t most_chunks = 0, units = 0;
  for (const BatchSequence& sequence : op.sequences)
    for (int64_t head = 0; head < op.keys.shape[1]; ++head)
      for (int64_t row = 0; row < sequence.rows; row += attention.item_rows()) {
        items.push_back(attention.item(sequence, head, row));
        most_chunks = std::max(most_chunks, items.back().chunks());
        units += items.back().chunks();
      }
  const int64_t count = int64_t(items.size());
  const auto scratch = [&](int thread) { return scratch_[size_t(thread)].floats(attention.scratch_floats()); };
  const bool enough_items = pool_.size() == 1 || most_chunks <= 1 || count >= 4 * pool_.size();
  if (enough_items)
    return for_each_item(count, [&](int64_t i, int thread) { attention.whole(items[size_t(i)], scratch(thread)); });

  // Few items: a unit of work is one chunk of one; their partial results meet in shared memory.
  const int64_t stride = attention.partial_floats(attention.item_rows() * attention.group());
  float* shared = shared_scratch_.floats((units + count) * stride);
  std::vector<int64_t>& first_unit = attention_units_;
  first_unit.assign(1, 0);
  for (const AttentionItem& item : items) first_unit.push_back(first_unit.back() + item.chunks());
  for_each_item(units, [&](int64_t unit, int thread) {
    const auto after = std::upper_bound(first_unit.begin(), first_unit.end(), unit);
    const size_t i = size_t(after - first_unit.begin() - 1);
    attention.part(items[i], unit - first_unit[i], scratch(thread), shared + unit * stride);
  });
  for_each_item(count, [&](int64_t i, int) {
    const size_t at = size_t(i);
    attention.join(items[at], shared + first_unit[at] * stride, stride, shared + (units + i) * stride);
  });
}

}  // namespace metallic::cpu
