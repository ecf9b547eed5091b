// Errors are values. Whatever a file, a request or the environment can cause comes back as a Result; a bug of ours
// stops the process (METALLIC_CHECK, internal).
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace metallic {

// What kind of thing went wrong. src/base/error.cc maps each code to an exit status and an HTTP status.
enum class ErrorCode {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // a file, tensor or key that does not exist
  kIo,               // the operating system refused: read, write, map
  kCorrupt,          // a file breaks the rules of its format
  kUnsupported,      // well-formed, but nothing here can handle it
  kOutOfRange,       // over a limit: context length, token id, index
  kOutOfMemory,      // memory of the host or of a device is short
  kCancelled,        // the caller stopped it
  kDevice,           // an accelerator failed
  kInternal,         // a defect in metallic that was noticed and contained
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  // One line for a person: what and where, what was found, what was expected, what to do.
  std::string message;
};

// A T, or the Error that says why there is none.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

}  // namespace metallic
