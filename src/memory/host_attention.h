// Keys and values in RAM beside a device that multiplies: the host, which has them, does attention over them.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace metallic {

// `inner` computes on `device` (it is the device, or stands in front of it), `host` in host memory: the KV cache is
// made of its kv_backend(), which is `host`. Errors of pinned memory are latched: attention computes nothing then, and
// synchronize() says why.
std::shared_ptr<Backend> make_host_attention_backend(std::shared_ptr<Backend> inner, std::shared_ptr<Backend> device,
                                                     std::shared_ptr<Backend> host);

}  // namespace metallic
