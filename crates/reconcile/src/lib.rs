//! Background task frame: activations without input, on timer and on signal.
