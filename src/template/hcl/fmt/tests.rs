//! The formatter's tests.
