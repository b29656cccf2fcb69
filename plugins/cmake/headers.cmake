# Finds TensorRT's headers and sets ND_HEADERS, their folder.
if(TENSORRT_INCLUDE_DIR)
  set(ND_HEADERS "${TENSORRT_INCLUDE_DIR}")
elseif(ND_FETCH_TENSORRT_HEADERS)
  find_package(Git REQUIRED)
  include(FetchContent)
  # Only the folder of the headers is fetched, of a repository many times as large; and the
  # SOURCE_SUBDIR has no CMakeLists.txt, so that nothing of it is built.
  FetchContent_Declare(tensorrt_headers
    DOWNLOAD_COMMAND ${GIT_EXECUTABLE} -c advice.detachedHead=false clone --depth 1
      --branch ${ND_TENSORRT_TAG} --filter=blob:none --sparse ${ND_TENSORRT_REPOSITORY} <SOURCE_DIR>
    COMMAND ${GIT_EXECUTABLE} -C <SOURCE_DIR> sparse-checkout set include
    SOURCE_SUBDIR include)
  FetchContent_MakeAvailable(tensorrt_headers)
  set(ND_HEADERS "${tensorrt_headers_SOURCE_DIR}/include")
else()
  find_path(ND_HEADERS NvInferRuntime.h)
  if(NOT ND_HEADERS)
    message(FATAL_ERROR
      "TensorRT's headers were not found. Configure with -DTENSORRT_INCLUDE_DIR=/folder/of/"
      "NvInferRuntime.h, or with -DND_FETCH_TENSORRT_HEADERS=ON to fetch NVIDIA's open-source ones.")
  endif()
endif()

if(NOT EXISTS "${ND_HEADERS}/NvInferRuntime.h" OR NOT EXISTS "${ND_HEADERS}/NvInferVersion.h")
  message(FATAL_ERROR "${ND_HEADERS} does not hold NvInferRuntime.h and NvInferVersion.h.")
endif()

# Newer headers define NV_TENSORRT_MAJOR by way of TRT_MAJOR_ENTERPRISE.
file(STRINGS "${ND_HEADERS}/NvInferVersion.h" ND_VERSION_LINES REGEX "_(MAJOR|MINOR|PATCH)")
foreach(part MAJOR MINOR PATCH)
  if(NOT ND_VERSION_LINES MATCHES
     "(NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE)[ \t]+([0-9]+)")
    message(FATAL_ERROR "${ND_HEADERS}/NvInferVersion.h does not say which version it is of.")
  endif()
  set(ND_HEADERS_${part} ${CMAKE_MATCH_2})
endforeach()
set(ND_HEADERS_VERSION "${ND_HEADERS_MAJOR}.${ND_HEADERS_MINOR}.${ND_HEADERS_PATCH}")
if(ND_HEADERS_VERSION VERSION_LESS 10.0)
  message(FATAL_ERROR
    "${ND_HEADERS} holds the headers of TensorRT ${ND_HEADERS_VERSION}; the plugins need 10.0 or newer.")
endif()
message(STATUS "ND_HEADERS_VERSION=${ND_HEADERS_VERSION}")
