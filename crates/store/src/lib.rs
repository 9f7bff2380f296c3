//! Store port: documents, commits with compares, watch, lease; its conformance suite and a fake.
