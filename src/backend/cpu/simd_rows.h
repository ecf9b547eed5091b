// Everything that works along one row, over the primitives of one instruction set: norms, softmax, element-wise
// operations, rope, random numbers. Included in the unnamed namespace of each folder's kernels.cc after simd_math.h.

// Part of a vector at once. Through memory, a vector that was stored number by number waits for all of the stores.
template <class S>
concept LoadsSome = requires(const float* x) {
  S::load_some(x, int64_t{1}, 0.0f);
};

// Fewer numbers than a vector has, and `fill` behind them.
template <class S = Simd>
V load_rest(const float* x, int64_t count, float fill) {
  if constexpr (LoadsSome<S>) {
    return S::load_some(x, count, fill);
  } else {
    float rest[S::kWidth];
    for (int64_t l = 0; l < S::kWidth; ++l) rest[l] = l < count ? x[l] : fill;
    return S::load(rest);
  }
}

template <class S = Simd>
void store_rest(float* to, int64_t count, V x) {
  if constexpr (LoadsSome<S>) {
    S::store_some(to, count, x);
  } else {
    float rest[S::kWidth];
    S::store(rest, x);
    for (int64_t l = 0; l < count; ++l) to[l] = rest[l];
  }
}

// The whole vectors of a row, then its rest padded with `fill`.
template <class Visit>
void visit_row(const float* x, int64_t count, float fill, Visit visit) {
  int64_t i = 0;
  for (; i + Simd::kWidth <= count; i += Simd::kWidth) visit(Simd::load(x + i));
  if (i < count) visit(load_rest(x + i, count - i, fill));
}

// The sum over a row of square(v) = (v - mean)^2, or of v itself. `mean` also pads, so that the padding adds nothing.
float sum_squares(const float* x, int64_t count, float mean) {
  V sum = Simd::zero();
  const V center = Simd::set(mean);
  visit_row(x, count, mean, [&](V v) {
    const V difference = Simd::sub(v, center);
    sum = Simd::fma(difference, difference, sum);
  });
  return Simd::reduce_add(sum);
}

float sum_row(const float* x, int64_t count) {
  V sum = Simd::zero();
  visit_row(x, count, 0.0f, [&](V v) { sum = Simd::add(sum, v); });
  return Simd::reduce_add(sum);
}

// out = (x - mean) * factor * weight + bias; plain loops, which the compiler turns into vectors.
void normalize(const float* x, float mean, float factor, const NormArguments& in, float* out) {
  const float* weight = in.weight;
  const float* bias = in.bias;
  const int64_t width = in.width;
  if (weight == nullptr)
    for (int64_t i = 0; i < width; ++i) out[i] = (x[i] - mean) * factor;
  else
    for (int64_t i = 0; i < width; ++i) out[i] = (x[i] - mean) * factor * weight[i];
  if (bias != nullptr)
    for (int64_t i = 0; i < width; ++i) out[i] += bias[i];
}

void rms_norm(const float* x, const NormArguments& in, float* out) {
  const float mean_square = sum_squares(x, in.width, 0.0f) / float(in.width);
  normalize(x, 0.0f, 1.0f / __builtin_sqrtf(mean_square + in.epsilon), in, out);
}

void layer_norm(const float* x, const NormArguments& in, float* out) {
  const float mean = sum_row(x, in.width) / float(in.width);
  const float variance = sum_squares(x, in.width, mean) / float(in.width);
  normalize(x, mean, 1.0f / __builtin_sqrtf(variance + in.epsilon), in, out);
}

float maximum(const float* x, int64_t count) {
  V highest = Simd::set(-__builtin_inff());
  visit_row(x, count, -__builtin_inff(), [&](V v) { highest = Simd::max(highest, v); });
  return Simd::reduce_max(highest);
}

// e^x, or 0 below e^-64: next to the highest, whose e^0 is 1, it is nothing, and sums of products with such weights
// would be subnormal numbers, which cost some processors a hundred cycles each.
inline V exp_or_nothing(V x) { return Simd::select_less(x, Simd::set(-64.0f), Simd::zero(), exp(x)); }

float exp_sum(const float* x, int64_t count, float highest, float* out) {
  V sum = Simd::zero();
  const V shift = Simd::set(highest);
  int64_t i = 0;
  for (; i + Simd::kWidth <= count; i += Simd::kWidth) {
    const V value = exp_or_nothing(Simd::sub(Simd::load(x + i), shift));
    sum = Simd::add(sum, value);
    Simd::store(out + i, value);
  }
  if (i < count) {
    const V value = exp_or_nothing(Simd::sub(load_rest(x + i, count - i, -__builtin_inff()), shift));
    sum = Simd::add(sum, value);
    store_rest(out + i, count - i, value);
  }
  return Simd::reduce_add(sum);
}

void scale(const float* x, int64_t count, float factor, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = x[i] * factor;
}

void blend(float* out, float a, const float* x, float b, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = out[i] * a + x[i] * b;
}

void add(const float* a, const float* b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
}

void multiply(const float* a, const float* b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] * b[i];
}

void add_one(const float* a, float b, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] + b;
}

void rope(RopeStyle style, const float* cosines, const float* sines, int64_t pairs, float* x) {
  const int64_t step = style == RopeStyle::kInterleaved ? 2 : 1;
  float* y = style == RopeStyle::kInterleaved ? x + 1 : x + pairs;
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[i * step], b = y[i * step];
    x[i * step] = a * cosines[i] - b * sines[i];
    y[i * step] = a * sines[i] + b * cosines[i];
  }
}

void float_to_half(const float* x, int64_t count, uint16_t* out) {
  int64_t i = 0;
  for (; i + Simd::kWidth <= count; i += Simd::kWidth) Simd::store_half(out + i, Simd::load(x + i));
  if (i == count) return;
  float rest[Simd::kWidth] = {};
  uint16_t halves[Simd::kWidth];
  for (int64_t l = 0; l < count - i; ++l) rest[l] = x[i + l];
  Simd::store_half(halves, Simd::load(rest));
  for (int64_t l = 0; l < count - i; ++l) out[i + l] = halves[l];
}

// random_bits and random_float of backend/random.h, with the same roundings; the compiler makes vectors of the loop.
void random(RandomKeys keys, uint32_t low, int64_t count, float lo, float range, float below_hi, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t x = (low + uint32_t(i)) ^ keys.first;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = ((x ^ (x >> 15)) + keys.second) * 0x735a2d97u;
    x ^= x >> 15;
    const float unit = float(int32_t(x >> 8)) * 5.9604644775390625e-08f;
    const float value = lo + unit * range;
    out[i] = value < below_hi ? value : below_hi;
  }
}

void transpose(const float* rows, int64_t row_stride, int64_t columns, float* out, int64_t out_stride) {
  for (int64_t c = 0; c < columns; c += Simd::kWidth) {
    Simd::V block[Simd::kWidth];
#pragma GCC unroll 16
    for (int r = 0; r < Simd::kWidth; ++r) block[r] = Simd::load(rows + r * row_stride + c);
    Simd::transpose(block);
#pragma GCC unroll 16
    for (int r = 0; r < Simd::kWidth; ++r) Simd::store(out + (c + r) * out_stride, block[r]);
  }
}

void fill_rows(Kernels& kernels) {
  kernels.transpose = transpose;
  kernels.float_to_half = float_to_half;
  kernels.rms_norm = rms_norm;
  kernels.layer_norm = layer_norm;
  kernels.maximum = maximum;
  kernels.exp_sum = exp_sum;
  kernels.scale = scale;
  kernels.blend = blend;
  kernels.add = add;
  kernels.multiply = multiply;
  kernels.add_one = add_one;
  kernels.activate = activate;
  kernels.rope = rope;
  kernels.random = random;
}
