# One test program for each folder of src/: all its *_test.cc. tests/ holds what spans folders.
include(GoogleTest)
file(GLOB_RECURSE METALLIC_TEST_SOURCES CONFIGURE_DEPENDS src/*_test.cc tests/*_test.cc)

metallic_filter_instruction_sets(METALLIC_TEST_SOURCES)

# The tokenizer's oracles are libraries: PCRE2 for its hand-written expressions, utf8proc for its Unicode tables. A cross build
# has none; the tests that want them are shown as disabled.
if(CMAKE_CROSSCOMPILING)
  foreach(source src/tokenizer/pretokenize_test.cc src/tokenizer/unicode_test.cc)
    list(REMOVE_ITEM METALLIC_TEST_SOURCES ${PROJECT_SOURCE_DIR}/${source})
    add_test(NAME "${source}: PCRE2 and utf8proc are not there for ${CMAKE_SYSTEM_PROCESSOR}" COMMAND false)
    set_tests_properties("${source}: PCRE2 and utf8proc are not there for ${CMAKE_SYSTEM_PROCESSOR}" PROPERTIES DISABLED TRUE)
  endforeach()
endif()

# Failures of the CUDA runtime, on a fake one in its place: runs without a GPU.
if(METALLIC_HAS_CUDA AND NOT METALLIC_TEST_FOLDERS)
  add_executable(cuda_faults_test tests/cuda_faults/faults.cc tests/cuda_faults/streaming.cc
                 src/backend/cuda/fake_runtime.cc)
  target_compile_definitions(cuda_faults_test PRIVATE METALLIC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_include_directories(cuda_faults_test PRIVATE src tests)
  target_include_directories(cuda_faults_test SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_link_libraries(cuda_faults_test PRIVATE metallic metallic_flags fmt::fmt GTest::gtest_main)
  gtest_discover_tests(cuda_faults_test NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 900)
endif()

if(NOT METALLIC_HAS_CUDA)  # the tests of one backend alone; the tables of the others name it where it is built
  list(FILTER METALLIC_TEST_SOURCES EXCLUDE REGEX "/cuda_[a-z_]*_test\\.cc$")
endif()

# Runs the command.
set(METALLIC_COMMAND_TEST ${PROJECT_SOURCE_DIR}/tests/hole_classes_cli_test.cc)
if(METALLIC_BUILD_CLI)
  set_source_files_properties(${METALLIC_COMMAND_TEST} PROPERTIES COMPILE_DEFINITIONS METALLIC_CLI="$<TARGET_FILE:metallic_cli>")
else()
  list(REMOVE_ITEM METALLIC_TEST_SOURCES ${METALLIC_COMMAND_TEST})
endif()

set(METALLIC_FOLDERS "")
foreach(source ${METALLIC_TEST_SOURCES})
  file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR} ${source})
  string(REGEX REPLACE "^(src/)?([^/]+)/.*" "\\2" folder ${relative})
  list(APPEND METALLIC_FOLDERS ${folder})
  list(APPEND METALLIC_TESTS_${folder} ${source})
endforeach()
list(REMOVE_DUPLICATES METALLIC_FOLDERS)
if(METALLIC_TEST_FOLDERS)
  set(METALLIC_FOLDERS ${METALLIC_TEST_FOLDERS})
endif()
foreach(folder ${METALLIC_FOLDERS})
  add_executable(${folder}_test ${METALLIC_TESTS_${folder}})
  target_include_directories(${folder}_test PRIVATE src tests)
  target_compile_definitions(${folder}_test PRIVATE METALLIC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${folder}_test PRIVATE metallic metallic_flags fmt::fmt nlohmann_json::nlohmann_json GTest::gtest_main)
  gtest_discover_tests(${folder}_test NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 900)
endforeach()

if(METALLIC_BUILD_CLI)
  add_dependencies(tests_test metallic_cli)
endif()

if(NOT CMAKE_CROSSCOMPILING)
  find_path(PCRE2_INCLUDE_DIR pcre2.h REQUIRED)
  find_library(PCRE2_LIBRARY pcre2-8 REQUIRED)
  find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
  find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
  target_include_directories(tokenizer_test PRIVATE ${PCRE2_INCLUDE_DIR} ${UTF8PROC_INCLUDE_DIR})
  target_link_libraries(tokenizer_test PRIVATE ${PCRE2_LIBRARY} ${UTF8PROC_LIBRARY})
endif()

# Processors without sdot and i8mm, with sdot alone, and with both (as the one that the other tests run on).
if(CMAKE_CROSSCOMPILING AND METALLIC_QEMU)
  foreach(processor cortex-a53 cortex-a72 neoverse-n1 max)
    add_test(NAME PanelKernels.OfWhatHas.${processor}
      COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} -cpu ${processor} $<TARGET_FILE:backend_test> --gtest_filter=*Panel*)
    add_test(NAME CpuFeatures.AreThoseOf.${processor}
      COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} -cpu ${processor} $<TARGET_FILE:base_test> --gtest_filter=CpuFeatures.*)
  endforeach()
endif()

# Sanitized builds do not optimise the kernels, and only optimised code leaves nothing behind to be shared.
if(NOT CMAKE_CROSSCOMPILING AND NOT METALLIC_SANITIZE)
  add_test(NAME InstructionSets.NoCodeOfOneIsLinkedInPlaceOfAnothers
    COMMAND ${PROJECT_SOURCE_DIR}/tools/check-isa $<TARGET_OBJECTS:metallic> COMMAND_EXPAND_LISTS)
endif()
