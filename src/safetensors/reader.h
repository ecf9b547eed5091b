// Reading safetensors files (https://github.com/huggingface/safetensors#format): 8 bytes of header length, a JSON
// header, the tensors' bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "metallic/result.h"
#include "safetensors/header.h"

namespace metallic {

// One opened file, checked whole: no accessor can read outside its mapping. Immutable; safe to use from any thread.
// Movable; spans and pointers stay valid when it moves.
class SafetensorsFile {
 public:
  // kNotFound, kIo, kCorrupt or kUnsupported; the message names the file and the tensor.
  static Result<SafetensorsFile> open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  std::span<const SafetensorsTensor> tensors() const { return tensors_; }  // in the order of their bytes
  const SafetensorsTensor* find(std::string_view name) const;              // null if there is none
  std::span<const std::byte> data(const SafetensorsTensor& tensor) const;  // `tensor` is one of tensors()

  // kIo if the file has been cut short since it was opened: what is gone reads as zero.
  Status check_intact() const { return file_.check_intact(); }

  // Lets the system take back the memory that reading `tensor` brought in. Reading it again is still allowed.
  void release(const SafetensorsTensor& tensor) const;

 private:
  SafetensorsFile(MappedFile file, size_t data_begin, std::vector<SafetensorsTensor> tensors);

  MappedFile file_;
  size_t data_begin_ = 0;
  std::vector<SafetensorsTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace metallic
