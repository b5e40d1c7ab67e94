//! An error with its causes.

use std::error::Error;

/// An error with its causes, for a log line or a refusal: `cannot connect: Connection refused (os error 111)`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("disk is full")]
        Disk,
        #[error("store cannot be written")]
        Store(#[source] Box<Self>),
    }

    #[test]
    fn every_cause_is_told_once() {
        let disk = Failure::Disk;
        assert_eq!(chain(&disk), "disk is full");
        let store = Failure::Store(Box::new(Failure::Store(Box::new(disk))));
        assert_eq!(
            chain(&store),
            "store cannot be written: store cannot be written: disk is full"
        );
    }
}
