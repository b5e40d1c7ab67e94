//! Keys of counters (spec/enforcer.md §7.2), and the limits of one request.

use trireme_limits::{Limit, MAX_LIMITS, Window};
use trireme_policy::throttle::Unit;

use crate::limits::{Caller, Quota};
use crate::need::Question;
use crate::verdict::Level;

/// `<basePath>:<version>`.
pub(super) fn api(base_path: &str, version: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(base_path.as_bytes());
    if !version.is_empty() {
        out.push(b':');
        out.extend_from_slice(version.as_bytes());
    }
}

/// `<basePath>/<version><template>:<METHOD>`.
pub(super) fn resource(question: &Question<'_>, out: &mut Vec<u8>) {
    let policy = &question.api.policy;
    let method = question.operation.method.as_str();
    let template = question.attributes.route.template;
    for part in [&*policy.base_path, "/", &*policy.version, template, ":", method] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `<appId>:<basePath>:<version>`.
pub(super) fn subscription(caller: &Caller<'_>, base_path: &str, version: &str, out: &mut Vec<u8>) {
    for part in [caller.application, ":", base_path, ":", version] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// `<appId>:<user>`.
pub(super) fn application(caller: &Caller<'_>, base_path: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(caller.application.as_bytes());
    out.push(b':');
    caller.write_user(base_path, out);
}

/// One limit of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) level: Level,
    pub(super) quota: Quota,
    pub(super) burst: bool,
    pub(super) cost: u64,
    /// Where its key ends among the others; it begins where the one before ends.
    end: usize,
}

/// The limits of a request, as they are found.
#[derive(Debug)]
pub(super) struct Asking {
    keys: Vec<u8>,
    asked: Vec<Asked>,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Adds a limit; `write` appends what distinguishes its key from others of its level.
    pub(super) fn push(
        &mut self,
        level: Level,
        quota: Quota,
        cost: u64,
        burst: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.asked.is_empty() {
            self.keys.reserve(256);
            self.asked.reserve(4);
        }
        self.keys.push(match level {
            Level::Api => b'a',
            Level::Application => b'p',
            Level::Custom => b'c',
            Level::Resource => b'r',
            Level::Subscription => b's',
        });
        self.keys.push(match (quota.unit, burst) {
            (_, true) => b'!',
            (Unit::Bytes, false) => b'b',
            (Unit::Requests, false) => b'n',
        });
        write(&mut self.keys);
        self.asked.push(Asked {
            level,
            quota,
            burst,
            cost,
            end: self.keys.len(),
        });
    }

    pub(super) fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// The limits as counters take them. Of more than they take, one more: that they refuse.
    pub(super) fn limits<R>(&self, take: impl FnOnce(&[Limit<'_>]) -> R) -> R {
        const NONE: Limit<'_> = Limit {
            key: &[],
            quota: 0,
            window: Window::SECOND,
            cost: 0,
        };
        let mut limits = [NONE; MAX_LIMITS + 1];
        let mut begin = 0;
        for (place, asked) in limits.iter_mut().zip(&self.asked) {
            *place = Limit {
                key: self.keys.get(begin..asked.end).unwrap_or_default(),
                quota: asked.quota.amount,
                window: asked.quota.window,
                cost: asked.cost,
            };
            begin = asked.end;
        }
        let count = self.asked.len().min(limits.len());
        take(limits.get(..count).unwrap_or_default())
    }
}
