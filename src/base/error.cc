#include "base/error.h"

#include <array>

#include "base/check.h"

namespace metallic {
namespace {

constexpr std::array<ErrorCodeInfo, 10> kErrorCodes = {{
    {ErrorCode::kInvalidArgument, "invalid_argument", 1, 400},
    {ErrorCode::kNotFound, "not_found", 1, 404},
    {ErrorCode::kIo, "io", 1, 500},
    {ErrorCode::kCorrupt, "corrupt", 1, 500},
    {ErrorCode::kUnsupported, "unsupported", 1, 501},
    {ErrorCode::kOutOfRange, "out_of_range", 1, 400},
    {ErrorCode::kOutOfMemory, "out_of_memory", 1, 503},
    {ErrorCode::kCancelled, "cancelled", 130, 499},
    {ErrorCode::kDevice, "device", 1, 500},
    {ErrorCode::kInternal, "internal", 1, 500},
}};

}  // namespace

const ErrorCodeInfo& error_code_info(ErrorCode code) {
  for (const ErrorCodeInfo& info : kErrorCodes)
    if (info.code == code) return info;
  METALLIC_CHECK(false && "an ErrorCode is missing from the table");
  return kErrorCodes.back();
}

tl::unexpected<Error> fail_while(std::string_view doing, const Error& error) {
  return fail(error.code, "{}: {}", doing, error.message);
}

}  // namespace metallic
