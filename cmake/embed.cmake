# megalaunch_embed(TARGET SYMBOL file ...): compiles text files into TARGET, so that one binary is enough. The source
# that uses them declares `extern const EmbeddedFile SYMBOL[]; extern const size_t SYMBOL_count;` (env/embedded.h).
function(megalaunch_embed target symbol)
  set(entries "")
  set(count 0)
  foreach(file IN LISTS ARGN)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"megalaunch(${text})megalaunch\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.cc)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"// Made by cmake/embed.cmake from the files that it names.
#include \"env/embedded.h\"

namespace megalaunch {
extern const EmbeddedFile @symbol@[];
extern const std::size_t @symbol@_count;
const EmbeddedFile @symbol@[] = {
@entries@};
const std::size_t @symbol@_count = @count@;
}  // namespace megalaunch
")
  target_sources(${target} PRIVATE ${source})
endfunction()
