//! Importing files.
