# Sourced by the scripts here, from the checkout's root: which CMake and which compiler to build with.

minimum_cmake=3.25  # what CMakeLists.txt and CMakePresets.json ask for
minimum_gcc=12
minimum_clang=14

# Is version $1 at least version $2?
at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Prints the first CMake that is new enough: the system's, else the one in .venv (tools/install-deps puts it there).
find_cmake() {
  for cmake in cmake "$PWD/.venv/bin/cmake"; do
    version=$("$cmake" --version 2>/dev/null | sed -n 's/^cmake version //p')
    if [ -n "$version" ] && at_least "$version" $minimum_cmake; then
      command -v "$cmake"
      return 0
    fi
  done
  return 1
}

compiler_is_new() {
  macros=$("$1" -dM -E -x c++ /dev/null 2>/dev/null) || return 1
  clang=$(printf '%s\n' "$macros" | sed -n 's/^#define __clang_major__ //p')
  if [ -n "$clang" ]; then
    [ "$clang" -ge $minimum_clang ]
  else
    [ "$(printf '%s\n' "$macros" | sed -n 's/^#define __GNUC__ //p')" -ge $minimum_gcc ]
  fi
}

# Prints the C++ compiler: $CXX if it is set, else the system's if it is new enough, else a newer one beside it.
find_compiler() {
  if [ -n "${CXX:-}" ]; then
    printf '%s\n' "$CXX"
    return 0
  fi
  for compiler in c++ g++ g++-14 g++-13 g++-12 clang++ clang++-18 clang++-16 clang++-15 clang++-14; do
    if command -v $compiler >/dev/null && compiler_is_new $compiler; then
      command -v $compiler
      return 0
    fi
  done
  return 1
}
