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
