#include "memory/row_lookup.h"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <numeric>

#include "base/error.h"

namespace metallic {

Result<EmbedOp> RowLookup::in_host_memory(const Residency& residency, const EmbedOp& op) {
  const StreamedMatrix& matrix = streamed_matrix(*op.weight);
  rows_.view = op.weight->view;
  if (!matrix.is_on_disk()) {
    rows_.view.data = matrix.mapped(residency.file());
    return EmbedOp{&rows_, op.ids, op.scale, op.out};
  }
  METALLIC_TRY(read(residency.file(), matrix, op.ids));
  rows_.view = TensorView::dense(bytes_.data(), op.weight->view.format, {int64_t(op.ids.size()), op.weight->columns()});
  numbers_.resize(op.ids.size());
  std::iota(numbers_.begin(), numbers_.end(), 0);
  return EmbedOp{&rows_, numbers_, op.scale, op.out};
}

Status RowLookup::read(const GgufFile& file, const StreamedMatrix& matrix, std::span<const int32_t> ids) {
  const size_t bytes = size_t(matrix.row_bytes);
  const std::string& path = file.file_path(matrix.bytes.file);
  bytes_.resize(ids.size() * bytes);
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint64_t at = matrix.bytes.offset + uint64_t(ids[i]) * bytes;
    for (size_t done = 0; done < bytes;) {
      const ssize_t got =
          ::pread(file.descriptor(matrix.bytes.file), bytes_.data() + i * bytes + done, bytes - done, off_t(at + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        return fail(ErrorCode::kIo, "{}: reading {} bytes at byte {}: {}", path, bytes, at, std::strerror(errno));
      if (got == 0)
        return fail(
            ErrorCode::kIo,
            "{}: at byte {}: the file was cut short while its weights are in use; start again with the whole file",
            path, at + done);
      done += size_t(got);
    }
  }
  return {};
}

}  // namespace metallic
