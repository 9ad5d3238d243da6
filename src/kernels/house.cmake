# The leaf files: the only ones with special instruction flags. Always optimised: they are what all goldens run on.
set(leaf_flags -O3 -fno-stack-protector)  # called through tables, so they keep the marks of -fcf-protection
if(UMBEL_SANITIZE MATCHES "undefined")
  list(APPEND leaf_flags -fno-sanitize=undefined)  # their checks make these files take minutes to build; ASan stays
endif()
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_generic.cc PROPERTIES COMPILE_OPTIONS "${leaf_flags}")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_avx2.cc PROPERTIES
  COMPILE_OPTIONS "${leaf_flags};-mavx2;-mfma;-mf16c")
# g++ 12 reports its own AVX-512 headers as uninitialized (GCC bug 105593).
set(avx512_flags -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx512vnni -mprefer-vector-width=512
  -Wno-uninitialized)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND avx512_flags -Wno-maybe-uninitialized)
endif()
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_avx512.cc PROPERTIES
  COMPILE_OPTIONS "${leaf_flags};${avx512_flags}")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_amx.cc PROPERTIES
  COMPILE_OPTIONS "${leaf_flags};${avx512_flags};-mamx-tile;-mamx-bf16;-mamx-int8")
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_generic.cc ${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_avx2.cc
  ${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_avx512.cc ${CMAKE_SOURCE_DIR}/src/kernels/cpu/target_amx.cc
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON)  # their flags, and their house rule against shared inline code, want them alone
