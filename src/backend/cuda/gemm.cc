#include "backend/cuda/gemm.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "backend/cuda/fast.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/queue.h"
#include "base/log.h"

namespace metallic::cuda {
namespace {

constexpr uint64_t kWorkspace = 32 << 20;
constexpr int64_t kPanelBytes =
    128 << 20;  // of bfloat16 weights; stays partly in the L2 cache of the product behind it

// The functions of the library that are used.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;

  bool load() {
    void* handle = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
      if (handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL); handle != nullptr) break;
    if (handle == nullptr) return false;
    const auto find = [handle](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
      return function != nullptr;
    };
    return find(create, "cublasLtCreate") && find(destroy, "cublasLtDestroy") && find(matmul, "cublasLtMatmul") &&
           find(desc_create, "cublasLtMatmulDescCreate") && find(desc_set, "cublasLtMatmulDescSetAttribute") &&
           find(desc_destroy, "cublasLtMatmulDescDestroy") && find(layout_create, "cublasLtMatrixLayoutCreate") &&
           find(layout_destroy, "cublasLtMatrixLayoutDestroy") &&
           find(preference_create, "cublasLtMatmulPreferenceCreate") &&
           find(preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
           find(preference_destroy, "cublasLtMatmulPreferenceDestroy") &&
           find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  }
};

class NoGemm final : public Gemm {
 public:
  bool run(const LinearArgs&, const LinearArgs::Target&, bool) override { return false; }
  uint64_t generation() const override { return 0; }
};

class LtGemm final : public Gemm {
 public:
  LtGemm(const Library& library, cublasLtHandle_t handle, Stream& stream)
      : library_(library), handle_(handle), stream_(stream), x_(stream), panel_(stream), workspace_(stream) {}
  ~LtGemm() override {
    for (auto& [key, plan] : plans_) release(plan);
    (void)library_.destroy(handle_);
  }

  bool run(const LinearArgs& linear, const LinearArgs::Target& target, bool same_x) override {
    const int columns = linear.columns;
    if (columns % 8 != 0 || target.out.stride % 4 != 0 || reinterpret_cast<uintptr_t>(target.out.data) % 16 != 0)
      return false;
    if (target.bias && target.accumulate) return false;
    void* x = x_.get(uint64_t(linear.rows) * uint64_t(columns) * 2);
    if (x == nullptr || workspace_.get(kWorkspace) == nullptr) return false;
    const WeightRef& weight = target.weight;
    const bool plain = weight.layout == Layout::kBlocks && weight.row_bytes % 16 == 0 &&
                       reinterpret_cast<uintptr_t>(weight.codes) % 16 == 0;
    const bool half = plain && weight.format == Format::kF16;  // stays what it is, with x in half precision
    const bool direct = half || (plain && weight.format == Format::kBF16);
    if (!same_x || half != x_is_half_)
      (half ? launch_rows_to_half : launch_rows_to_bf16)(linear.x, linear.rows, columns, x, stream_.get());
    x_is_half_ = half;
    const int64_t most = std::max<int64_t>(16, kPanelBytes / 2 / columns / 16 * 16);
    for (int64_t row = 0; row < weight.rows; row += most) {
      const int rows = int(std::min<int64_t>(most, weight.rows - row));
      const void* panel = nullptr;
      if (direct) {
        panel = static_cast<const char*>(weight.codes) + row * weight.row_bytes;
      } else {
        void* memory = panel_.get(uint64_t(std::min<int64_t>(most, weight.rows)) * uint64_t(columns) * 2);
        if (memory == nullptr) return false;
        launch_to_bf16(weight, int(row), rows, memory, stream_.get());
        panel = memory;
      }
      if (!multiply(panel, direct ? weight.row_bytes / 2 : columns, x, target.out.data + row, target.out.stride, rows,
                    linear.rows, columns, target.accumulate, half))
        return false;
    }
    if (target.bias) launch_add_bias(target.out, linear.rows, weight.rows, target.bias, stream_.get());
    return true;
  }

  uint64_t generation() const override { return x_.generation() + panel_.generation() + workspace_.generation(); }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulHeuristicResult_t result = {};
    bool usable = false;
  };
  using Key = std::tuple<int, int, int, int64_t, int64_t, int>;

  // Column-major as cuBLAS sees it: out^T (m, n) = panel^T-transposed (m, k) * x^T (k, n).
  bool multiply(const void* panel, int64_t panel_stride, const void* x, float* out, int64_t out_stride, int m, int n,
                int k, int32_t accumulate, bool half) {
    const Key key{m, n, k, panel_stride, out_stride, half};
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, make_plan(m, n, k, panel_stride, out_stride, half)).first;
    const Plan& plan = found->second;
    if (!plan.usable) return false;
    const float alpha = 1, beta = accumulate ? 1.0f : 0.0f;
    return library_.matmul(handle_, plan.operation, &alpha, panel, plan.a, x, plan.b, &beta, out, plan.c, out, plan.c,
                           &plan.result.algo, workspace_.get(kWorkspace), kWorkspace,
                           stream_.get()) == CUBLAS_STATUS_SUCCESS;
  }

  Plan make_plan(int m, int n, int k, int64_t panel_stride, int64_t out_stride, bool half) {
    Plan plan;
    const cudaDataType_t type = half ? CUDA_R_16F : CUDA_R_16BF;
    const cublasOperation_t transpose = CUBLAS_OP_T;
    const size_t workspace = kWorkspace;
    cublasLtMatmulPreference_t preference = nullptr;
    int count = 0;
    const auto good = [](cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS; };
    plan.usable = good(library_.desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
                  good(library_.desc_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose))) &&
                  good(library_.layout_create(&plan.a, type, uint64_t(k), uint64_t(m), panel_stride)) &&
                  good(library_.layout_create(&plan.b, type, uint64_t(k), uint64_t(n), k)) &&
                  good(library_.layout_create(&plan.c, CUDA_R_32F, uint64_t(m), uint64_t(n), out_stride)) &&
                  good(library_.preference_create(&preference)) &&
                  good(library_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                               sizeof(workspace))) &&
                  good(library_.heuristic(handle_, plan.operation, plan.a, plan.b, plan.c, plan.c, preference, 1,
                                          &plan.result, &count)) &&
                  count > 0;
    if (preference != nullptr) (void)library_.preference_destroy(preference);
    return plan;
  }

  void release(Plan& plan) {
    if (plan.a != nullptr) (void)library_.layout_destroy(plan.a);
    if (plan.b != nullptr) (void)library_.layout_destroy(plan.b);
    if (plan.c != nullptr) (void)library_.layout_destroy(plan.c);
    if (plan.operation != nullptr) (void)library_.desc_destroy(plan.operation);
  }

  Library library_;
  cublasLtHandle_t handle_;
  Stream& stream_;
  Scratch x_, panel_, workspace_;
  std::map<Key, Plan> plans_;
  bool x_is_half_ = false;  // what x_ holds
};

}  // namespace

std::unique_ptr<Gemm> Gemm::create(Stream& stream) {
  Library library;
  cublasLtHandle_t handle = nullptr;
  if (!library.load() || library.create(&handle) != CUBLAS_STATUS_SUCCESS) {
    log(LogLevel::kInfo, "cuBLASLt was not found: prompts are evaluated slower");
    return std::make_unique<NoGemm>();
  }
  return std::make_unique<LtGemm>(library, handle, stream);
}

}  // namespace metallic::cuda
