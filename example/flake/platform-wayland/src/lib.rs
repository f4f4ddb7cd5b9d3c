//! Toplevels, seats and clipboards of a Wayland session.
