# One program for each bench/NAME.cc: bench_NAME. bench/scalar/ holds what others are measured against: loops that the compiler
# must not turn into vectors.
find_package(benchmark REQUIRED)
file(GLOB METALLIC_SCALAR_SOURCES CONFIGURE_DEPENDS bench/scalar/*.cc)
add_library(metallic_scalar STATIC ${METALLIC_SCALAR_SOURCES})
target_include_directories(metallic_scalar PRIVATE src ${PROJECT_SOURCE_DIR})
target_link_libraries(metallic_scalar PRIVATE metallic metallic_flags)
target_compile_options(metallic_scalar PRIVATE $<IF:$<CXX_COMPILER_ID:GNU>,-fno-tree-vectorize,-fno-vectorize$<SEMICOLON>-fno-slp-vectorize>)

file(GLOB METALLIC_BENCHES CONFIGURE_DEPENDS bench/*.cc)
foreach(source ${METALLIC_BENCHES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(bench_${name} ${source})
  target_include_directories(bench_${name} PRIVATE src ${PROJECT_SOURCE_DIR})
  target_link_libraries(bench_${name} PRIVATE metallic metallic_scalar metallic_flags fmt::fmt benchmark::benchmark_main)
endforeach()

if(METALLIC_HAS_CUDA)
  add_executable(bench_gpu bench/gpu/gpu.cc)
  target_include_directories(bench_gpu PRIVATE src tests)
  target_link_libraries(bench_gpu PRIVATE metallic metallic_flags fmt::fmt nlohmann_json::nlohmann_json)
endif()
