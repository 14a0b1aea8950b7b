//! The real binary in temporary folders: what it prints, where, and how it ends.
