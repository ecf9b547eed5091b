// Rows that are looked up in a matrix that no backend was given: an embedding that stays in host memory or on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "memory/residency.h"

namespace metallic {

class RowLookup {
 public:
  // The operation over bytes in host memory: the file's mapping where the plan has the matrix in RAM, and rows that are
  // read one by one past the mapping where it is on disk. It holds until the next call, as what `op` points to does.
  // kIo names the file and the place.
  Result<EmbedOp> in_host_memory(const Residency& residency, const EmbedOp& op);

 private:
  Status read(const GgufFile& file, const StreamedMatrix& matrix, std::span<const int32_t> ids);

  Weight rows_;
  std::vector<std::byte> bytes_;
  std::vector<int32_t> numbers_;
};

}  // namespace metallic
