# Finds nvcc and sets ND_CUDA_ARCHITECTURES: machine code of each of ND_ARCHS that nvcc knows, and
# PTX of the newest, which newer devices compile for themselves.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR
    "nvcc was not found. Put the CUDA toolkit's bin folder on PATH, or configure with "
    "-DCMAKE_CUDA_COMPILER=/path/to/nvcc.")
endif()
# Replaced below; CMake wants a value before it enables the language.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES OFF)
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 11.8)
  message(FATAL_ERROR
    "nvcc is ${CMAKE_CUDA_COMPILER_VERSION}; the plugins need CUDA 11.8 or newer.")
endif()

execute_process(
  COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch
  OUTPUT_VARIABLE ND_KNOWN_ARCHS
  RESULT_VARIABLE ND_RESULT)
if(NOT ND_RESULT EQUAL 0)
  message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} --list-gpu-arch failed: ${ND_RESULT}")
endif()

set(ND_USED_ARCHS "")
foreach(arch IN LISTS ND_ARCHS)
  if(NOT arch MATCHES "^[0-9]+$")
    message(FATAL_ERROR
      "ND_ARCHS holds '${arch}'; give compute capabilities without the dot, as in 80;90.")
  endif()
  if(ND_KNOWN_ARCHS MATCHES "compute_${arch}(\n|$)")
    list(APPEND ND_USED_ARCHS ${arch})
  else()
    message(STATUS "nvcc ${CMAKE_CUDA_COMPILER_VERSION} does not know compute_${arch}: left out")
  endif()
endforeach()
if(NOT ND_USED_ARCHS)
  string(REGEX MATCHALL "[0-9]+" ND_KNOWN_ARCHS "${ND_KNOWN_ARCHS}")
  message(FATAL_ERROR
    "nvcc ${CMAKE_CUDA_COMPILER_VERSION} knows none of ND_ARCHS=${ND_ARCHS}; it knows "
    "${ND_KNOWN_ARCHS}.")
endif()

list(SORT ND_USED_ARCHS COMPARE NATURAL)
list(GET ND_USED_ARCHS -1 ND_NEWEST_ARCH)
set(ND_CUDA_ARCHITECTURES ${ND_USED_ARCHS})
list(TRANSFORM ND_CUDA_ARCHITECTURES APPEND "-real")
list(APPEND ND_CUDA_ARCHITECTURES "${ND_NEWEST_ARCH}-virtual")
message(STATUS "ND_ARCHS=${ND_USED_ARCHS}")
message(STATUS "ND_NVCC=${CMAKE_CUDA_COMPILER_VERSION}")
