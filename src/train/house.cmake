# One pass over every trained value and its state per step: vectors pay, and the root of a negative number needs no errno.
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/optim/optimizer.cc PROPERTIES COMPILE_OPTIONS "-O3;-fno-math-errno"
  SKIP_PRECOMPILE_HEADERS ON)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/train/optim/blockwise.cc PROPERTIES COMPILE_OPTIONS "-O3"
  SKIP_PRECOMPILE_HEADERS ON)

# Jobs side by side under the thread sanitizer: of the room's tests those that need it, so that the others are not built there.
if(UMBEL_TESTS AND UMBEL_SANITIZE STREQUAL "thread")
  house_test(train_lanes_test SOURCES ${CMAKE_SOURCE_DIR}/src/train/step/lanes_test.cc ${CMAKE_SOURCE_DIR}/src/train/step/trainable_test.cc DEPS train)
endif()
