// The filters of numbers, and those that make numbers.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/filters.h"
#include "text/jinja/number_text.h"
#include "text/jinja/operators.h"
#include "text/jinja/parameters.h"

namespace metallic::jinja {
namespace {

tl::unexpected<Error> needs_number(std::string_view filter, const Value& value) {
  if (value.is_undefined()) return fail_undefined(value);
  return refuse("{} of a {}, where it needs a number", filter, type_name(value));
}

Result<Value> abs_filter(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_TRY(Parameters::bind("abs", arguments, {}));
  if (value.is_integral()) return value.as_integer() < 0 ? negate(value) : Result<Value>(Value(value.as_integer()));
  if (!value.is_number()) return needs_number("abs", value);
  return Value(std::abs(value.as_number()));
}

Result<Value> int_filter(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("int", arguments, {"default", "base"}));
  METALLIC_ASSIGN(const Integer base, parameters.integer_or(1, 10));
  const Value fallback = parameters.or_else(0, Value(0));
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return Value(value.as_integer());
  std::optional<double> number;
  if (value.is(Kind::kFloat)) {
    number = value.as_number();
    if (std::isinf(*number)) return refuse("an infinity has no integer");
  } else if (value.is_string()) {
    if (base != 0 && (base < 2 || base > 36)) return refuse("int() with a base that is not 0 or 2 to 36");
    if (const auto integer = parse_integer(value.text(), int(base))) return Value(*integer);
    number = parse_float(value.text());  // "42.23"
  }
  if (!number || !std::isfinite(*number)) return fallback;
  const auto integer = truncate_to_integer(*number);
  if (!integer) return fail(ErrorCode::kOutOfRange, "{} is larger than the integers of the interpreter", *number);
  return Value(*integer);
}

Result<Value> float_filter(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("float", arguments, {"default"}));
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_number()) return Value(value.as_number());
  const auto number = value.is_string() ? parse_float(value.text()) : std::nullopt;
  return number ? Value(*number) : parameters.or_else(0, Value(0.0));
}

// round(value, digits) of Python: the nearest decimal of the exact binary value, ties to even.
double round_decimal(double value, int digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits < 0) {
    const double unit = std::pow(10.0, -digits);
    return std::isinf(unit) ? 0.0 * value : std::nearbyint(value / unit) * unit;
  }
  char buffer[700];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return std::strtod(buffer, nullptr);
}

Integer round_integer(Integer value, int digits) {
  if (digits >= 0) return value;
  if (digits < -37) return 0;
  Integer unit = 1;
  for (int i = 0; i < -digits; ++i) unit *= 10;
  const Integer rest = value % unit < 0 ? value % unit + unit : value % unit;
  const Integer below = value - rest;
  const bool up = rest * 2 > unit || (rest * 2 == unit && (below / unit) % 2 != 0);
  return below + (up ? unit : 0);
}

Result<Value> round_filter(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("round", arguments, {"precision", "method"}));
  METALLIC_ASSIGN(const Integer precision, parameters.integer_or(0, 0));
  METALLIC_ASSIGN(const std::string_view method, parameters.text_or(1, "common"));
  if (!value.is_number()) return needs_number("round", value);
  if (precision > 400 || precision < -400) return refuse("round to {} digits", integer_text(precision));
  const int digits = int(precision);
  if (method == "common") {
    if (value.is_integral()) {
      const Integer integer = value.as_integer();
      if (integer > Integer(1) << 120 || integer < -(Integer(1) << 120)) return needs_number("round", value);
      return Value(round_integer(integer, digits));
    }
    return Value(round_decimal(value.as_number(), digits));
  }
  if (method != "ceil" && method != "floor") return refuse("round knows the methods common, ceil and floor");
  const double unit = std::pow(10.0, digits);
  const double scaled = value.as_number() * unit;
  if (!std::isfinite(scaled)) return refuse("round of a number that is too large");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Result<Value> filesizeformat(Runtime&, const Value& value, const Arguments& arguments) {
  METALLIC_ASSIGN(const Parameters parameters, Parameters::bind("filesizeformat", arguments, {"binary"}));
  const auto parsed = value.is_string() ? parse_float(value.text()) : std::nullopt;
  if (!value.is_number() && !parsed) return needs_number("filesizeformat", value);
  const double bytes = parsed ? *parsed : value.as_number();
  const bool binary = parameters.truth_or(0, false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value("1 Byte");
  if (bytes < base) return Value(fmt::format("{:.0f} Bytes", std::trunc(bytes) + 0.0));
  double unit = base;
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  size_t i = 0;
  for (; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (bytes < unit || i + 1 == kPrefixes.size()) break;
  }
  const std::string prefix = binary && i == 0 ? "K" : std::string(1, kPrefixes[i]);
  return Value(fmt::format("{:.1f} {}{}", base * bytes / unit, prefix, binary ? "iB" : "B"));
}

constexpr Filter kFilters[] = {
    {"abs", abs_filter},     {"filesizeformat", filesizeformat}, {"float", float_filter}, {"int", int_filter},
    {"round", round_filter},
};

}  // namespace

std::span<const Filter> number_filters() { return kFilters; }

}  // namespace metallic::jinja
