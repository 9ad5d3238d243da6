# Language level, warnings, sanitizers. Nothing here is special to one ISA: kernels/ sets its own flags on its leaf files.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)

# "Dev" is optimised enough for the goldens to run and keeps DCHECK.
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1" CACHE STRING "flags of the Dev build type" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "flags of the Release build type" FORCE)

# Everything ends in programs: one kind of position-independent code for all, which precompiled headers want too.
add_compile_options(-fPIE)
add_link_options(-pie)

# What an attacker would build on is not there: the tables of the dynamic linker are read-only before main, no stack is executable.
add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64")
  add_link_options(-Wl,-z,shstk)  # shadow stack: holds for any code; Rust's stable compiler marks no branch targets, so not -z ibt
endif()
# Checks that the compiler adds. Sanitizers have their own, and the leaf files of kernels/ (plain loops over plain arrays, no
# input of strangers) go without the stack's: src/kernels/house.cmake. tests/hardening.py reads the built program.
set(house_hardening "")
if(NOT UMBEL_SANITIZE)
  set(house_hardening -fstack-protector-strong -fcf-protection=full)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    list(APPEND house_hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
endif()

add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -ffp-contract=off)
if(UMBEL_SANITIZE)
  add_compile_options(-fsanitize=${UMBEL_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${UMBEL_SANITIZE})
  if(UMBEL_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=mold)
endif()
