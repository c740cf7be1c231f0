# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# tcmu-runner's headers, as the target tcmu_runner_headers, and its whole source for those who ask
# with tcmu_runner_source(). Both come from TCMU_RUNNER_HEADERS=PATH (a source tree of tcmu-runner) or,
# without it, from Debian's source package of the installed version (see fetch-tcmu-runner).
#
# tcmu-runner checks no ABI version when it opens a handler, and its structs changed between 1.4 and
# 1.5. So only 1.5 is accepted here, and TI_TCMU_VERSION tells the handler which one it was built for.

set(TCMU_RUNNER_HEADERS "" CACHE PATH "tcmu-runner's source tree (empty: from Debian's source package)")

# Sets TCMU_RUNNER_TREE (a source tree) and TI_TCMU_VERSION.
function(tcmu_runner_find_tree)
	set(tree "${TCMU_RUNNER_HEADERS}")
	if(NOT tree)
		execute_process(COMMAND "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/fetch-tcmu-runner"
			OUTPUT_VARIABLE tree OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
		if(failed)
			message(FATAL_ERROR "tcmu-runner's headers cannot be had; the reason is above.")
		endif()
	elseif(NOT EXISTS "${tree}/tcmu-runner.h")
		message(FATAL_ERROR "TCMU_RUNNER_HEADERS: '${tree}' has no tcmu-runner.h; "
			"give the top directory of tcmu-runner's source.")
	endif()
	set(version "")
	if(EXISTS "${tree}/CMakeLists.txt")
		file(STRINGS "${tree}/CMakeLists.txt" line REGEX "^ *set *\\(VERSION [0-9.]+\\)" LIMIT_COUNT 1)
		string(REGEX MATCH "[0-9]+\\.[0-9.]+" version "${line}")
	endif()
	if(NOT version MATCHES "^1\\.5\\.")
		message(FATAL_ERROR "'${tree}' is tcmu-runner '${version}', and the handler is "
			"written for 1.5: give the source of a 1.5 release with -DTCMU_RUNNER_HEADERS=PATH.")
	endif()
	find_program(TCMU_RUNNER tcmu-runner PATHS /usr/sbin /sbin)
	mark_as_advanced(TCMU_RUNNER)
	if(TCMU_RUNNER)
		execute_process(COMMAND "${TCMU_RUNNER}" -V OUTPUT_VARIABLE line ERROR_QUIET)
		string(REGEX MATCH "[0-9]+\\.[0-9.]+" installed "${line}")
		if(installed AND NOT installed VERSION_EQUAL version)
			message(WARNING "The headers are tcmu-runner ${version}'s, but ${installed} is "
				"installed: the handler will refuse to work with it.")
		endif()
	endif()
	message(STATUS "Found tcmu-runner's headers ${version}")
	set(TCMU_RUNNER_TREE "${tree}" PARENT_SCOPE)
	set(TI_TCMU_VERSION "${version}" PARENT_SCOPE)
endfunction()

# tcmu_runner_source(OUT): a copy of the whole tree in the build directory, to compile parts of.
function(tcmu_runner_source out)
	file(COPY "${TCMU_RUNNER_TREE}/" DESTINATION "${CMAKE_BINARY_DIR}/tcmu-runner/source"
		PATTERN ".git" EXCLUDE)
	set(${out} "${CMAKE_BINARY_DIR}/tcmu-runner/source" PARENT_SCOPE)
endfunction()

tcmu_runner_find_tree()

# Copied, so that a build directory goes on working when the cache is emptied.
file(COPY "${TCMU_RUNNER_TREE}/" DESTINATION "${CMAKE_BINARY_DIR}/tcmu-runner/include"
	FILES_MATCHING PATTERN "*.h" PATTERN "debian" EXCLUDE PATTERN ".git" EXCLUDE)
add_library(tcmu_runner_headers INTERFACE)
# SYSTEM: our warnings are not for their code.
target_include_directories(tcmu_runner_headers SYSTEM INTERFACE
	"${CMAKE_BINARY_DIR}/tcmu-runner/include"
	"${CMAKE_BINARY_DIR}/tcmu-runner/include/ccan")
target_compile_definitions(tcmu_runner_headers INTERFACE TI_TCMU_VERSION="${TI_TCMU_VERSION}")
