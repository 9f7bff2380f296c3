//! HTTP/1.1 data path that edge and gate share.
