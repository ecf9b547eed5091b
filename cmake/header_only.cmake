# For a cross build: the same packages as targets of headers alone, so that no library of the target processor is needed. Their
# folders are linked into the build folder, because /usr/include itself would bring this machine's C library headers along.
set(METALLIC_HEADERS ${PROJECT_BINARY_DIR}/headers)
file(MAKE_DIRECTORY ${METALLIC_HEADERS})

function(metallic_header_only target folder)
  if(NOT EXISTS /usr/include/${folder})
    message(FATAL_ERROR "/usr/include/${folder} is missing: a cross build takes the header-only libraries from there. Run tools/install-deps --cross")
  endif()
  file(CREATE_LINK /usr/include/${folder} ${METALLIC_HEADERS}/${folder} SYMBOLIC)
  add_library(${target} INTERFACE IMPORTED)
  target_include_directories(${target} SYSTEM INTERFACE ${METALLIC_HEADERS})
endfunction()

metallic_header_only(fmt::fmt fmt)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY=1)
metallic_header_only(spdlog::spdlog spdlog)
target_compile_definitions(spdlog::spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(spdlog::spdlog INTERFACE fmt::fmt)
metallic_header_only(tl::expected tl)
metallic_header_only(nlohmann_json::nlohmann_json nlohmann)

# GoogleTest is built from its sources (Debian's package googletest).
if(METALLIC_BUILD_TESTS)
  if(NOT EXISTS /usr/src/googletest/CMakeLists.txt)
    message(FATAL_ERROR "/usr/src/googletest is missing: a cross build takes GoogleTest's sources from there. Run tools/install-deps --cross")
  endif()
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL SYSTEM)
endif()
