//! Data port: database clusters on a machine under an agent; wire types, suite and a fake.
