// SPDX-License-Identifier: GPL-2.0

//! Loads, shows and changes device-mapper tables.
