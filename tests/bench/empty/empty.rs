//! The floor of every exec: a program that does nothing, linked as the plugin is.

fn main() {}
