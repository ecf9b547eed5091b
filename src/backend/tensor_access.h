// How the backends' side reaches into the public Tensor.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "metallic/tensor.h"

namespace metallic {

struct TensorAccess {
  static Backend& backend(Device& device);  // every Device is a Backend
  static Result<Tensor> allocate(const std::shared_ptr<Device>& device, const Shape& shape, Format format);
  static Tensor make(std::shared_ptr<Device> device, std::shared_ptr<void> owner, const TensorView& view);
  static const std::shared_ptr<void>& owner(const Tensor& tensor) { return tensor.owner_; }
};

}  // namespace metallic
