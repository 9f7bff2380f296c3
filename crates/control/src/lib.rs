//! Control: reconcilers and operations over the ports.
