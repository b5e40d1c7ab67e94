//! The control plane: API projects in, snapshots out.
