# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# What this build will be, in a few lines at the end of the configuration.

function(ti_summary label value)
	string(LENGTH "${label}" length)
	math(EXPR pad "14 - ${length}")
	string(REPEAT " " ${pad} spaces)
	message(STATUS "  ${label}${spaces}${value}")
endfunction()

message(STATUS "tcmu-integrity ${PROJECT_VERSION}:")
ti_summary("compiler" "${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}, -Werror ${TI_WERROR}")
if(TI_FUZZ)
	ti_summary("sanitizers" "address,undefined, libFuzzer")
elseif(TI_SANITIZE)
	ti_summary("sanitizers" "${TI_SANITIZE}")
endif()
ti_summary("tcmu-runner" "${TI_TCMU_VERSION}, handler goes to ${TI_HANDLER_DIR}")
ti_summary("tests" "${BUILD_TESTING}")
