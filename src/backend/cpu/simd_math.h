// exp, tanh, erfc and the activations over the primitives of one instruction set. Included in the unnamed namespace of
// each folder's kernels.cc, where Simd is defined. The polynomials are minimax fits made for this file (weighted least
// squares on Chebyshev nodes); relative errors are below 5e-7 unless a function says otherwise.

using V = Simd::V;

template <class... Coefficients>
inline V polynomial(V x, float highest, Coefficients... others) {
  V sum = Simd::set(highest);
  ((sum = Simd::fma(sum, x, Simd::set(others))), ...);
  return sum;
}

template <class Primitives>
concept ScalesByPowers = requires {
  &Primitives::scale_by_power;
};

// x * 2^n, for whole n
template <class Primitives = Simd>
inline V times_power_of_two(V x, V n) {
  if constexpr (ScalesByPowers<Primitives>) {
    return Primitives::scale_by_power(x, n);
  } else {
    // 2^n may be out of float's range where the product is not: two factors.
    const V half = Simd::round(Simd::mul(n, Simd::set(0.5f)));
    return Simd::mul(Simd::mul(x, Primitives::power_of_two(half)), Primitives::power_of_two(Simd::sub(n, half)));
  }
}

// e^x = 2^n * e^r with n = round(x / ln 2), ln 2 in two parts so that r is exact. Subnormal results are right; a NaN
// stays one.
inline V exp(V x) {
  x = Simd::min(Simd::set(89.0f), Simd::max(Simd::set(-104.0f), x));
  const V n = Simd::round(Simd::mul(x, Simd::set(1.44269504f)));
  V r = Simd::fma(n, Simd::set(-0.693359375f), x);
  r = Simd::fma(n, Simd::set(2.12194440e-4f), r);
  const V tail = polynomial(r, 1.3901286e-3f, 8.3631435e-3f, 4.1666854e-2f, 1.6666578e-1f, 0.5f);
  return times_power_of_two(Simd::add(Simd::fma(Simd::mul(r, r), tail, r), Simd::set(1.0f)), n);
}

inline V sigmoid(V x) {
  const V one = Simd::set(1.0f);
  return Simd::div(one, Simd::add(one, exp(Simd::sub(Simd::zero(), x))));
}

inline V tanh(V x) {
  const V one = Simd::set(1.0f), square = Simd::mul(x, x);
  // x + x^3 P(x^2) near zero, where the other form cancels
  const V tail = polynomial(square, -6.0969451e-3f, 2.0997360e-2f, -5.3850956e-2f, 1.3332771e-1f, -3.3333328e-1f);
  const V near = Simd::fma(Simd::mul(x, square), tail, x);
  const V far = Simd::sub(one, Simd::div(Simd::set(2.0f), Simd::add(exp(Simd::add(x, x)), one)));
  return Simd::select_less(Simd::abs(x), Simd::set(0.625f), near, far);
}

// The complementary error function for z >= 0: e^(-z^2) t P(t) with t = 1 / (1 + z / 2). z^2 is split into an exact
// part and a small one, since its rounding error would be multiplied by z^2. Meant for z <= 12, after which it is 0.
inline V erfc(V z) {
  const V t = Simd::div(Simd::set(1.0f), Simd::fma(z, Simd::set(0.5f), Simd::set(1.0f)));
  const V fit = polynomial(t, -5.9363835e-2f, 2.8601394e-1f, -4.9017954e-1f, 2.8147519e-1f, -2.8971955e-2f,
                           2.0367847e-1f, 2.4285363e-1f, 2.8240958e-1f, 2.8208447e-1f);
  const V high = Simd::keep_bits(z, 0xfffff000u);
  const V rest = Simd::mul(Simd::sub(high, z), Simd::add(high, z));
  const V e_rest = polynomial(rest, 4.1666667e-2f, 1.6666667e-1f, 0.5f, 1.0f, 1.0f);
  return Simd::mul(Simd::mul(exp(Simd::sub(Simd::zero(), Simd::mul(high, high))), e_rest), Simd::mul(t, fit));
}

// x * Phi(x) without the cancellation of 1 + erf: Phi(x) = erfc(-x / sqrt 2) / 2, and Phi(-x) = 1 - Phi(x).
inline V gelu(V x) {
  const V magnitude = Simd::min(Simd::set(20.0f), Simd::abs(x));
  const V below = Simd::mul(Simd::set(0.5f), erfc(Simd::mul(magnitude, Simd::set(0.70710678f))));
  return Simd::mul(x, Simd::select_less(x, Simd::zero(), below, Simd::sub(Simd::set(1.0f), below)));
}

// 1 + tanh(u) = 2 sigmoid(2u)
inline V gelu_tanh(V x) {
  const V cube = Simd::mul(Simd::mul(x, x), x);
  const V u = Simd::fma(cube, Simd::set(0.044715f), x);
  return Simd::mul(x, sigmoid(Simd::mul(u, Simd::set(1.59576912f))));
}

template <class Function>
void map(const float* x, const float* factor, int64_t count, float* out, Function function) {
  const auto apply = [&](const float* in, const float* by, float* to) {
    const V value = function(Simd::load(in));
    Simd::store(to, by != nullptr ? Simd::mul(value, Simd::load(by)) : value);
  };
  int64_t i = 0;
  for (; i + Simd::kWidth <= count; i += Simd::kWidth) apply(x + i, factor != nullptr ? factor + i : nullptr, out + i);
  if (i == count) return;
  float in[Simd::kWidth] = {}, by[Simd::kWidth] = {}, to[Simd::kWidth];
  for (int64_t l = 0; l < count - i; ++l) in[l] = x[i + l];
  for (int64_t l = 0; factor != nullptr && l < count - i; ++l) by[l] = factor[i + l];
  apply(in, factor != nullptr ? by : nullptr, to);
  for (int64_t l = 0; l < count - i; ++l) out[i + l] = to[l];
}

void activate(Activation activation, const float* x, const float* factor, int64_t count, float* out) {
  switch (activation) {
    case Activation::kIdentity:
      return map(x, factor, count, out, [](V v) { return v; });
    case Activation::kRelu:
      return map(x, factor, count, out, [](V v) { return Simd::max(v, Simd::zero()); });
    case Activation::kSilu:
      return map(x, factor, count, out, [](V v) { return Simd::mul(v, sigmoid(v)); });
    case Activation::kGelu:
      return map(x, factor, count, out, [](V v) { return gelu(v); });
    case Activation::kGeluTanh:
      return map(x, factor, count, out, [](V v) { return gelu_tanh(v); });
    case Activation::kGeluQuick:
      return map(x, factor, count, out, [](V v) { return Simd::mul(v, sigmoid(Simd::mul(v, Simd::set(1.702f)))); });
    case Activation::kTanh:
      return map(x, factor, count, out, [](V v) { return tanh(v); });
    case Activation::kSigmoid:
      return map(x, factor, count, out, [](V v) { return sigmoid(v); });
  }
}
