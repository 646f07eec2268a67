# Everything comes from Debian's packages; packages.txt beside the README's set-up script lists them.
# One interface target per library, so that the choice static/shared is made here and nowhere else.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS filesystem)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(tl-expected REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

if(MEGALAUNCH_STATIC)
  set(OPENSSL_USE_STATIC_LIBS ON)
  add_link_options(-static-libstdc++ -static-libgcc)
endif()
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

# Debian ships fmt and spdlog as shared libraries or headers; the headers cost compile time, so only the
# static build takes them.
add_library(dep_fmt INTERFACE)
target_link_libraries(dep_fmt INTERFACE $<IF:$<BOOL:${MEGALAUNCH_STATIC}>,fmt::fmt-header-only,fmt::fmt>)
add_library(dep_spdlog INTERFACE)
target_link_libraries(dep_spdlog INTERFACE
  $<IF:$<BOOL:${MEGALAUNCH_STATIC}>,spdlog::spdlog_header_only,spdlog::spdlog> dep_fmt)

add_library(dep_yaml INTERFACE)
if(MEGALAUNCH_STATIC)
  find_library(YAML_CPP_ARCHIVE libyaml-cpp.a REQUIRED)
  target_link_libraries(dep_yaml INTERFACE ${YAML_CPP_ARCHIVE})
elseif(TARGET yaml-cpp::yaml-cpp)
  target_link_libraries(dep_yaml INTERFACE yaml-cpp::yaml-cpp)
else()
  target_link_libraries(dep_yaml INTERFACE yaml-cpp)
endif()

add_library(dep_boost INTERFACE)
target_link_libraries(dep_boost INTERFACE Boost::headers Threads::Threads)
target_compile_definitions(dep_boost INTERFACE BOOST_ASIO_NO_DEPRECATED BOOST_ERROR_CODE_HEADER_ONLY)

add_library(dep_process INTERFACE)
if(MEGALAUNCH_STATIC)
  find_library(BOOST_FILESYSTEM_ARCHIVE libboost_filesystem.a REQUIRED)
  target_link_libraries(dep_process INTERFACE dep_boost ${BOOST_FILESYSTEM_ARCHIVE})
else()
  target_link_libraries(dep_process INTERFACE dep_boost Boost::filesystem)
endif()
