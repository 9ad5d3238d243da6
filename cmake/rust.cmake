# umbel_text_rust: the Rust static library of src/text/rust, built by cargo from the committed Cargo.lock.
# Cargo decides what is stale; all presets share one build under CARGO_TARGET_DIR, else build/cargo. Once the crates
# are in cargo's cache no network is needed.
find_program(CARGO_PROGRAM cargo REQUIRED)
set(rust_dir ${CMAKE_SOURCE_DIR}/src/text/rust)
if(DEFINED ENV{CARGO_TARGET_DIR})
  set(rust_target_dir $ENV{CARGO_TARGET_DIR})
else()
  cmake_path(SET rust_target_dir NORMALIZE ${CMAKE_BINARY_DIR}/../cargo)
endif()
set(rust_library ${rust_target_dir}/release/libumbel_text.a)

file(GLOB rust_sources CONFIGURE_DEPENDS ${rust_dir}/src/*.rs)
# The stamp belongs to this build tree: two trees that share one cargo build each ask cargo once. Cargo's own lock
# keeps them apart.
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/rust.stamp
  BYPRODUCTS ${rust_library}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${rust_target_dir}
          ${CARGO_PROGRAM} build --release --locked --quiet --manifest-path ${rust_dir}/Cargo.toml
  COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/rust.stamp
  DEPENDS ${rust_sources} ${rust_dir}/Cargo.toml ${rust_dir}/Cargo.lock
  COMMENT "cargo build (src/text/rust)"
  VERBATIM)
add_custom_target(umbel_text_cargo DEPENDS ${CMAKE_BINARY_DIR}/rust.stamp)

add_library(umbel_text_rust INTERFACE)
add_dependencies(umbel_text_rust umbel_text_cargo)
target_link_libraries(umbel_text_rust INTERFACE ${rust_library} Threads::Threads ${CMAKE_DL_LIBS} m)
