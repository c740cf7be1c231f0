# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# How everything is compiled. Warnings are errors in the presets and in run-tests, not for packagers.

option(TI_WERROR "Make warnings errors" OFF)
set(TI_SANITIZE "" CACHE STRING "Sanitizers: 'address,undefined' or 'thread'")
option(TI_FUZZ "Build for libFuzzer (clang): everything instrumented, fuzz targets built" OFF)

option(TI_COVERAGE "Count what the tests reach (clang); tests/coverage reports" OFF)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
	set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()
# Asserts state what must be true; they stay in every build.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# tcmu-runner and other handlers live in the same process: nothing of ours may answer for theirs.
set(CMAKE_C_VISIBILITY_PRESET hidden)

# A function that is looked up at its first call has the vector registers saved on the stack meanwhile, and with them
# whatever of a key went through them last.
add_link_options(LINKER:-z,now)

# Empty on purpose: a file that says "#define _GNU_SOURCE" itself says the same.
add_compile_definitions(_GNU_SOURCE=)
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes)
if(TI_WERROR)
	add_compile_options(-Werror)
endif()

if(TI_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
		message(FATAL_ERROR "TI_FUZZ needs clang: configure with -DCMAKE_C_COMPILER=clang.")
	endif()
	if(TI_SANITIZE)
		message(FATAL_ERROR "TI_FUZZ brings its own sanitizers: leave TI_SANITIZE empty.")
	endif()
	set(TI_SANITIZE_FLAGS -fsanitize=address,undefined)
	add_compile_options(-fsanitize=fuzzer-no-link)
elseif(TI_SANITIZE)
	set(TI_SANITIZE_FLAGS -fsanitize=${TI_SANITIZE})
endif()
if(TI_SANITIZE_FLAGS)
	add_compile_options(${TI_SANITIZE_FLAGS} -fno-sanitize-recover=all -fno-omit-frame-pointer)
	add_link_options(${TI_SANITIZE_FLAGS})
endif()

if(TI_COVERAGE)
	if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
		message(FATAL_ERROR "TI_COVERAGE needs clang: configure with -DCMAKE_C_COMPILER=clang.")
	endif()
	# Counters that live in the file: also what is killed, or forked, has counted.
	add_compile_options(-fprofile-instr-generate -fcoverage-mapping
		"SHELL:-mllvm -runtime-counter-relocation")
	add_link_options(-fprofile-instr-generate)
endif()
