//! The forms of a gRPC status other than its name.

/// How the status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `5`.
    Number,
    /// `NOT_FOUND`.
    Snake,
}

/// Names of the codes from 0 on, as [`super::Field::GrpcStatus`] has them and in capitals.
const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Form {
    /// Gives the status with this name to `write`; what has no name is a number in every form.
    pub(crate) fn of<T>(self, name: &[u8], write: impl FnOnce(&[u8]) -> T) -> T {
        let code = NAMES.iter().position(|(known, _)| known.as_bytes() == name);
        match (code, self) {
            (Some(code), Self::Number) => write(code.to_string().as_bytes()),
            (Some(code), Self::Snake) => write(NAMES[code].1.as_bytes()),
            (None, _) => write(name),
        }
    }
}
