# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# How the rooms below tests/ add tests. Labels: unit golden sim fuzz lab slow tsan valgrind. The kind
# (unit, golden, sim, fuzz) says where a test belongs; tsan and valgrind mark those that run-tests
# repeats in that way; slow ones run only in a soak.

# ti_add_test(NAME test LABELS label... SOURCES file... [LIBRARIES target...] [TIMEOUT seconds]
#             [ARGS argument...]): an executable NAME linked with the engine and cmocka, and a test of that name.
function(ti_add_test)
	cmake_parse_arguments(PARSE_ARGV 0 t "" "NAME;TIMEOUT" "LABELS;SOURCES;LIBRARIES;ARGS")
	if(t_UNPARSED_ARGUMENTS OR NOT t_NAME OR NOT t_LABELS OR NOT t_SOURCES)
		message(FATAL_ERROR "ti_add_test: NAME, LABELS and SOURCES are needed, and nothing "
			"unknown (${t_UNPARSED_ARGUMENTS}).")
	endif()
	if(NOT t_TIMEOUT)
		# valgrind, on a machine that is busy, takes a hundred times as long as the test itself.
		set(t_TIMEOUT 300)
	endif()
	add_executable(${t_NAME} ${t_SOURCES})
	target_link_libraries(${t_NAME} PRIVATE ${t_LIBRARIES} ti_engine PkgConfig::CMOCKA)
	add_test(NAME ${t_NAME} COMMAND ${t_NAME} ${t_ARGS})
	set_tests_properties(${t_NAME} PROPERTIES LABELS "${t_LABELS}" TIMEOUT ${t_TIMEOUT}
		SKIP_RETURN_CODE 77)
endfunction()

# ti_add_fuzz(NAME fuzzer SOURCES file... [LIBRARIES target...] [CORPUS directory]): in a TI_FUZZ build, a
# libFuzzer program and a test that runs it for TI_FUZZ_SECONDS (environment; 20 without it) from the
# seeds in CORPUS. What it finds on the way stays in the build directory.
function(ti_add_fuzz)
	cmake_parse_arguments(PARSE_ARGV 0 f "" "NAME;CORPUS" "SOURCES;LIBRARIES")
	if(f_UNPARSED_ARGUMENTS OR NOT f_NAME OR NOT f_SOURCES)
		message(FATAL_ERROR "ti_add_fuzz: NAME and SOURCES are needed, and nothing unknown "
			"(${f_UNPARSED_ARGUMENTS}).")
	endif()
	if(NOT TI_FUZZ)
		return()
	endif()
	add_executable(${f_NAME} ${f_SOURCES})
	target_link_libraries(${f_NAME} PRIVATE ${f_LIBRARIES} ti_engine)
	target_link_options(${f_NAME} PRIVATE -fsanitize=fuzzer)
	add_dependencies(fuzzers ${f_NAME})
	if(f_CORPUS)
		get_filename_component(f_CORPUS "${f_CORPUS}" ABSOLUTE)
	endif()
	add_test(NAME ${f_NAME} COMMAND "${PROJECT_SOURCE_DIR}/tests/run-fuzzer"
		$<TARGET_FILE:${f_NAME}> "${CMAKE_CURRENT_BINARY_DIR}/${f_NAME}.found" ${f_CORPUS})
	set_tests_properties(${f_NAME} PROPERTIES LABELS fuzz TIMEOUT 3600)
endfunction()
