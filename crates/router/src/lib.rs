//! The data plane: client traffic in, checked, forwarded upstream.
