//! Vectors and interoperation.
