# megalaunch_library(NAME SOURCES a.cc ... LINKS other_library ...)
# One static library per folder. Its public headers are included by path from the root of the tree.
function(megalaunch_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_LINKS})
  set_property(GLOBAL APPEND PROPERTY MEGALAUNCH_LIBRARIES ${name})
endfunction()
