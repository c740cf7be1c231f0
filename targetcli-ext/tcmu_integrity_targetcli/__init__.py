# SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later
# Copyright (c) 2026 The tcmu-integrity authors
"""What targetcli can do with backstores of user:integrity, beyond what it can with any."""
