//! Engine port: ensure, observe, run, logs, remove; its conformance suite and a fake.
