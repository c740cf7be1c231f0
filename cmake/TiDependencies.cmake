# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
#
# Libraries, each as an imported target PkgConfig::NAME. ./setup installs them all.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
# For ctest -T memcheck.
set(MEMORYCHECK_COMMAND_OPTIONS "-q --error-exitcode=99 --leak-check=full")
include(CTest)

# ti_find_library(NAME MODULE): PkgConfig::NAME from the pkg-config module, or a sentence that says what to do.
function(ti_find_library name module)
	pkg_check_modules(${name} QUIET IMPORTED_TARGET GLOBAL ${module})
	if(NOT ${name}_FOUND)
		message(FATAL_ERROR "pkg-config finds no '${module}': install its development "
			"package, or run ./setup, which installs all of them on Debian 12.")
	endif()
	message(STATUS "Found ${module} ${${name}_VERSION}")
endfunction()

ti_find_library(LIBURING liburing)
ti_find_library(LIBISAL libisal)
ti_find_library(LIBCRYPTO libcrypto)
ti_find_library(LIBGCRYPT libgcrypt)
ti_find_library(LIBXXHASH libxxhash)
ti_find_library(BLKID blkid)
ti_find_library(JSONC json-c)
ti_find_library(LIBKMOD libkmod)
ti_find_library(LIBNL libnl-3.0)
ti_find_library(LIBNL_GENL libnl-genl-3.0)
ti_find_library(GLIB glib-2.0)
ti_find_library(GIO gio-2.0)
if(BUILD_TESTING)
	ti_find_library(CMOCKA cmocka)
endif()
