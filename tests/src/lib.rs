// SPDX-License-Identifier: GPL-2.0

//! Harness for the tests that run in the guest.
