#include "backend/cuda/gemm.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "backend/cuda/fast.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/slices.h"
#include "base/log.h"

namespace metallic::cuda {
namespace {

constexpr uint64_t kWorkspace = 32 << 20;
constexpr int64_t kPanelBytes = 288 << 20;  // of bfloat16 weights: large enough that no product has too few tiles

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

// Whether the library can take the weight where it lies.
bool is_direct(const WeightRef& weight) {
  return weight.layout == Layout::kBlocks && (weight.format == Format::kF16 || weight.format == Format::kBF16) &&
         weight.row_bytes % 16 == 0 && reinterpret_cast<uintptr_t>(weight.codes) % 16 == 0;
}

class NoGemm final : public Gemm {
 public:
  bool can_multiply(const Product&) const override { return false; }
  bool multiply(const Product&) override { return false; }
  uint64_t generation() const override { return 0; }
};

class LtGemm final : public Gemm {
 public:
  LtGemm(const Library& library, cublasLtHandle_t handle, Stream& stream)
      : library_(library), handle_(handle), stream_(stream), panel_(stream), workspace_(stream) {}
  ~LtGemm() override {
    for (auto& [key, plan] : plans_) release(plan);
    (void)library_.destroy(handle_);
  }

  bool can_multiply(const Product& product) const override {
    const int64_t element = product.out_bf16 ? 2 : 4;
    return product.weights.front().columns % 8 == 0 && product.stride * element % 16 == 0 &&
           reinterpret_cast<uintptr_t>(product.out) % 16 == 0;
  }

  // Weights are decoded to a panel until it is full, and multiplied; those that need not be go as they are.
  bool multiply(const Product& product) override {
    if (workspace_.get(kWorkspace) == nullptr) return false;
    const int columns = product.weights.front().columns;
    const int most = int(std::max<int64_t>(128, kPanelBytes / 2 / columns / 128 * 128));
    int64_t total = 0, done = 0;
    for (const WeightRef& weight : product.weights) total += is_direct(weight) ? 0 : weight.rows;
    char* panel = nullptr;
    if (total > 0) {
      panel = static_cast<char*>(panel_.get(uint64_t(std::min<int64_t>(most, total)) * uint64_t(columns) * 2));
      if (panel == nullptr) return false;
    }
    int waiting = 0;  // rows in the panel
    const auto flush = [&] {
      const int rows = std::exchange(waiting, 0);
      done += rows;
      return rows == 0 || multiply(panel, columns, product, done - rows, rows, columns, false);
    };
    const auto reach = [&](size_t weight) {
      if (product.reach) product.reach(weight);
    };
    for (size_t i = 0; i < product.weights.size(); ++i) {
      const WeightRef& weight = product.weights[i];
      if (is_direct(weight)) {
        if (!flush()) return false;
        reach(i);
        if (!multiply(weight.codes, weight.row_bytes / 2, product, done, weight.rows, columns,
                      weight.format == Format::kF16))
          return false;
        done += weight.rows;
        continue;
      }
      reach(i);
      for (int row = 0; row < weight.rows;) {
        const int rows = std::min(most - waiting, weight.rows - row);
        launch_to_bf16(weight, row, rows, panel + int64_t(waiting) * columns * 2, stream_.get());
        waiting += rows;
        row += rows;
        if (waiting == most && !flush()) return false;
      }
    }
    reach(product.weights.size());
    return flush();
  }

  uint64_t generation() const override { return panel_.generation() + workspace_.generation(); }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulHeuristicResult_t result = {};
    bool usable = false;
  };
  using Key = std::tuple<int, int, int, int64_t, int64_t, int, int>;

  // `m` outputs from number `first` on. Column-major as cuBLAS sees it: out^T (m, n) = panel^T-transposed (m, k) * x^T
  // (k, n).
  bool multiply(const void* panel, int64_t panel_stride, const Product& product, int64_t first, int m, int k,
                bool half) {
    if (m == 0) return true;
    const int n = product.rows;
    char* out = static_cast<char*>(product.out) + first * (product.out_bf16 ? 2 : 4);
    const Key key{m, n, k, panel_stride, product.stride, half, product.out_bf16};
    auto found = plans_.find(key);
    if (found == plans_.end())
      found = plans_.emplace(key, make_plan(m, n, k, panel_stride, product.stride, half, product.out_bf16)).first;
    const Plan& plan = found->second;
    if (!plan.usable) return false;
    const float alpha = 1, beta = product.accumulate ? 1.0f : 0.0f;
    return library_.matmul(handle_, plan.operation, &alpha, panel, plan.a, product.x, plan.b, &beta, out, plan.c, out,
                           plan.c, &plan.result.algo, workspace_.get(kWorkspace), kWorkspace,
                           stream_.get()) == CUBLAS_STATUS_SUCCESS;
  }

  Plan make_plan(int m, int n, int k, int64_t panel_stride, int64_t out_stride, bool half, bool out_bf16) {
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
                  good(library_.layout_create(&plan.c, out_bf16 ? CUDA_R_16BF : CUDA_R_32F, uint64_t(m), uint64_t(n),
                                              out_stride)) &&
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
  Scratch panel_, workspace_;
  std::map<Key, Plan> plans_;
};

}  // namespace

bool Gemm::wants_half(const WeightRef& weight) {
  const WeightRef& part = weight.layout == Layout::kSlices ? slices_of(weight).front().weight : weight;
  return part.format == Format::kF16 && is_direct(part);
}

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
