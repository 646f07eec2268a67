find_package(GTest REQUIRED)
include(GoogleTest)

# megalaunch_test(NAME LABEL unit|net SOURCES a_test.cc ... LINKS library ... [TIMEOUT seconds])
# One executable, one ctest entry: starting a process per case would cost more than the cases.
function(megalaunch_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;LINKS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 180)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE test_lib ${arg_LINKS} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${arg_LABEL}.${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${arg_LABEL}.${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT})
endfunction()

# megalaunch_script_test(NAME LABEL e2e COMMAND ... [TIMEOUT seconds]): exit 77 means skipped, with the reason printed.
function(megalaunch_script_test name)
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "COMMAND" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_test(NAME ${arg_LABEL}.${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${arg_LABEL}.${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "MEGALAUNCH=$<TARGET_FILE:megalaunch>;MEGALAUNCH_SOURCE=${PROJECT_SOURCE_DIR}")
endfunction()

# megalaunch_fuzzer(NAME SOURCES a_fuzz.cc LINKS library ... CORPUS folder): a libFuzzer target in the fuzz preset,
# and everywhere a plain test that replays the corpus.
function(megalaunch_fuzzer name)
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS})
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
  if(MEGALAUNCH_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz.${name} COMMAND ${name} -max_total_time=1 -print_final_stats=0
      ${CMAKE_CURRENT_BINARY_DIR}/found/${name} ${arg_CORPUS})
  else()
    target_link_libraries(${name} PRIVATE fuzz_replay)
    add_test(NAME fuzz.${name} COMMAND ${name} ${arg_CORPUS})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()
