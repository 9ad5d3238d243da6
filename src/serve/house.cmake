# g++ 12 takes the paired operator new/delete of Asio's coroutine frames for a mismatch (GCC bug 105562 family) once they
# are inlined; the pair is right.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TARGET serve)
  target_compile_options(serve PRIVATE -Wno-mismatched-new-delete)
endif()
# Asio's fences are unknown to g++'s ThreadSanitizer, which warns of them; its locks are known and order the same things.
if(UMBEL_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TARGET serve)
  target_compile_options(serve PUBLIC -Wno-tsan)
endif()
