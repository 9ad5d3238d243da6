# One pass over every trained value and its state per step: vectors pay, and the root of a negative number needs no errno.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/optimizer.cc PROPERTIES COMPILE_OPTIONS "-O3;-fno-math-errno"
  SKIP_PRECOMPILE_HEADERS ON)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/blockwise.cc PROPERTIES COMPILE_OPTIONS "-O3"
  SKIP_PRECOMPILE_HEADERS ON)
