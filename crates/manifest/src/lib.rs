//! Manifest reading: YAML to documents, with errors that name file, line and column.
