# DoRA's row norms read every adapted weight once at load: loops over plain arrays that want vectorising.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/adapters/dora.cc PROPERTIES COMPILE_OPTIONS "-O3"
  SKIP_PRECOMPILE_HEADERS ON)
