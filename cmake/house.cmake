# The standard and JSON headers that most files read are parsed once per build, not once per file. The preset `dev` does without, and so proves that every file includes what it uses.
option(UMBEL_PRECOMPILE "parse common headers once" OFF)
set(house_headers <algorithm> <array> <atomic> <cmath> <cstdint> <cstdio> <cstring> <fstream> <functional> <map> <memory> <mutex>
  <optional> <set> <span> <string> <string_view> <thread> <utility> <vector> <nlohmann/json.hpp> <spdlog/spdlog.h>)

# The rooms that read what strangers write report their coverage to the fuzzer.
set(house_fuzzed_rooms io text data adapters models store serve train)
# The rooms whose tests compute references and dual numbers by the million; other tests are built without optimisation: it
# costs more than they take to run (what they test has its own).
set(house_numeric_rooms kernels adapters nn)
# The rooms that do little but parse, print and wait: a sanitizer build leaves them as they are written.
set(house_talking_rooms io text store serve load apps)

# house_precompile(TARGET LIBRARIES... HEADERS... OPTIONS...): adds the options to TARGET, and gives it the parsed headers of all
# targets with the same headers and options.
function(house_precompile target)
  cmake_parse_arguments(arg "" "" "LIBRARIES;HEADERS;OPTIONS" ${ARGN})
  target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  if(NOT UMBEL_PRECOMPILE)
    return()
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 warns of its own strings (GCC bug 105651) once they come from precompiled headers.
    target_compile_options(${target} PRIVATE -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
  string(MD5 key "${arg_LIBRARIES} ${arg_HEADERS} ${arg_OPTIONS}")
  string(SUBSTRING ${key} 0 8 key)
  set(owner house_headers_${key})
  if(NOT TARGET ${owner})
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${owner}.cc CONTENT "// Its precompiled headers, and nothing else.\n")
    add_library(${owner} OBJECT ${CMAKE_BINARY_DIR}/${owner}.cc)
    target_link_libraries(${owner} PRIVATE nlohmann_json::nlohmann_json spdlog::spdlog Threads::Threads ${arg_LIBRARIES})
    target_compile_options(${owner} PRIVATE ${arg_OPTIONS})
    target_precompile_headers(${owner} PRIVATE ${house_headers} ${arg_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()

# The rooms whose standard containers check their indices in the program that users run: those that read what strangers send or write,
# and that do not compute.
set(house_checked_rooms base io text store engine eval serve load apps)

# house_options(room OUT): the options that the room's sources have beside everyone's.
function(house_options room out)
  set(options ${house_hardening})
  if(house_hardening AND room IN_LIST house_checked_rooms)
    list(APPEND options -D_GLIBCXX_ASSERTIONS)
  endif()
  if(UMBEL_SANITIZE AND room IN_LIST house_talking_rooms)
    list(APPEND options -O0)
  endif()
  if(NOT UMBEL_SANITIZE AND room STREQUAL "apps")
    list(APPEND options -O1)  # command lines: what -O2 adds is the compiler's time
  endif()
  if(UMBEL_FUZZ AND room IN_LIST house_fuzzed_rooms)
    list(APPEND options -fsanitize=fuzzer-no-link)
  endif()
  set(${out} ${options} PARENT_SCOPE)
endfunction()

# house_library(base DEPS ...): src/base/*.cc becomes a static library, src/base/*_test.cc one test program.
# Files are found by glob, so a test can't be forgotten in (or commented out of) a list.
function(house_library name)
  cmake_parse_arguments(arg "" "" "DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(${name} PUBLIC ${arg_DEPS})
    house_options(${name} options)
    house_precompile(${name} OPTIONS ${options})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(${name} INTERFACE ${arg_DEPS})
  endif()
  if(EXISTS ${CMAKE_SOURCE_DIR}/src/${name}/house.cmake)
    include(${CMAKE_SOURCE_DIR}/src/${name}/house.cmake)  # per-file flags of that room
  endif()
  if(UMBEL_TESTS AND tests)
    house_test(${name}_test SOURCES ${tests} DEPS ${name})
  endif()
endfunction()

# house_test(name SOURCES ... DEPS ...): one GoogleTest program, one ctest entry.
function(house_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  string(REGEX REPLACE "_test$" "" room ${name})
  set(options -O0)
  if(room IN_LIST house_numeric_rooms)
    set(options "")
  endif()
  house_precompile(${name} LIBRARIES GTest::gmock GTest::gtest HEADERS <gmock/gmock.h> <gtest/gtest.h> OPTIONS ${options})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "UMBEL_SOURCE_DIR=${CMAKE_SOURCE_DIR}" TIMEOUT 1200)
endfunction()

# house_program(apps umbel DEPS ...): src/apps/*.cc becomes the program build/PRESET/umbel.
function(house_program folder program)
  cmake_parse_arguments(arg "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  add_executable(${program} ${sources})
  target_include_directories(${program} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${program} PRIVATE ${arg_DEPS})
  house_options(${folder} options)
  house_precompile(${program} LIBRARIES CLI11::CLI11 HEADERS <CLI/CLI.hpp> OPTIONS ${options})
  target_compile_definitions(${program} PRIVATE UMBEL_VERSION="${PROJECT_VERSION}")
  # The commit changes more often than anything else: one header that one source reads.
  set(commit_header ${CMAKE_BINARY_DIR}/generated/umbel_commit.h)
  add_custom_target(${program}_commit BYPRODUCTS ${commit_header}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${commit_header} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake)
  add_dependencies(${program} ${program}_commit)
  target_include_directories(${program} PRIVATE ${CMAKE_BINARY_DIR}/generated)
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()
enable_testing()
