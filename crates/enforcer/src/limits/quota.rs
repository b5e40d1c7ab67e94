//! So much in a window, and what settings are refused for.

use std::time::Duration;

use trireme_limits::Window;
use trireme_policy::throttle::{self, Unit};

/// Settings that can't be applied. All settings are refused, and the last good ones stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(crate) struct Inapplicable {
    path: String,
    reason: String,
}

/// So much in a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) unit: Unit,
    pub(crate) amount: u64,
    pub(crate) window: Window,
}

impl Quota {
    pub(super) fn new(at: &str, quota: &throttle::Quota) -> Result<Self, Inapplicable> {
        let window = Window::of(Duration::from_secs(quota.window_secs));
        Ok(Self {
            unit: quota.unit,
            amount: quota.amount,
            window: window.ok_or_else(|| inapplicable(format!("{at}.window_secs"), "is too long"))?,
        })
    }
}

pub(super) fn inapplicable(path: impl Into<String>, reason: impl Into<String>) -> Inapplicable {
    Inapplicable {
        path: path.into(),
        reason: reason.into(),
    }
}
