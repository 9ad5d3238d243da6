# umbel_text_rust: the Rust static library of src/text/rust, built by cargo from the committed Cargo.lock.
# Cargo's own build is shared by all presets (CARGO_TARGET_DIR, else build/cargo) and cargo decides what is stale in it;
# each build tree keeps a copy of the library, so that it never links another tree's. Once the crates are in cargo's
# cache no network is needed.
find_program(CARGO_PROGRAM cargo REQUIRED)
set(rust_dir ${CMAKE_SOURCE_DIR}/src/text/rust)
if(DEFINED ENV{CARGO_TARGET_DIR})
  set(rust_target_dir $ENV{CARGO_TARGET_DIR})
else()
  cmake_path(SET rust_target_dir NORMALIZE ${CMAKE_BINARY_DIR}/../cargo)
endif()
set(rust_library ${CMAKE_BINARY_DIR}/libumbel_text.a)

# Checkouts that share a target directory look alike to cargo; the hash tells it whose sources it built last.
string(SHA256 rust_checkout ${CMAKE_SOURCE_DIR})
string(SUBSTRING ${rust_checkout} 0 12 rust_checkout)

file(GLOB rust_sources CONFIGURE_DEPENDS ${rust_dir}/src/*.rs)
add_custom_command(
  OUTPUT ${rust_library}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${rust_target_dir}
          ${CARGO_PROGRAM} rustc --release --lib --locked --quiet --manifest-path ${rust_dir}/Cargo.toml
          -- -C metadata=${rust_checkout}
  COMMAND ${CMAKE_COMMAND} -E copy ${rust_target_dir}/release/libumbel_text.a ${rust_library}
  COMMAND ${CMAKE_COMMAND} -E touch ${rust_library}
  DEPENDS ${rust_sources} ${rust_dir}/Cargo.toml ${rust_dir}/Cargo.lock
  COMMENT "cargo build (src/text/rust)"
  VERBATIM)
add_custom_target(umbel_text_cargo DEPENDS ${rust_library})

# Imported, so that what it needs stands behind it on the linker's line.
add_library(umbel_text_archive STATIC IMPORTED)
set_target_properties(umbel_text_archive PROPERTIES IMPORTED_LOCATION ${rust_library})
target_link_libraries(umbel_text_archive INTERFACE PkgConfig::ZSTD Threads::Threads ${CMAKE_DL_LIBS} m)
add_library(umbel_text_rust INTERFACE)
add_dependencies(umbel_text_rust umbel_text_cargo)
target_link_libraries(umbel_text_rust INTERFACE umbel_text_archive)
