//! Everything that is tested from outside, in one binary: one link, one start.

mod cli;
