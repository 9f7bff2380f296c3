//! Operations: durable, typed, resumable steps with undo.
