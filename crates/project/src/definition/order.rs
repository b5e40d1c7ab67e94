//! The order in which the resources of an API are tried.

use std::cmp::{Ordering, Reverse};

use super::normal::{self, PARAMETER, WILDCARD};

/// Compares two path templates by how specific they are, segment by segment from the left, in the form in which requests are
/// matched: literal text first, then parameters with literal text, then a bare parameter, then a final `/*`. Whatever matches
/// only a part of what another template matches precedes it, so that no request is checked as another operation's: `/pet/mine`
/// precedes `/pet/{id}`, which precedes `/pet/*`.
///
/// Of two segments with literal text and parameters the one with more literal text comes first, then the one with more
/// parameters, then the one that begins, then that ends with more literal text. A path comes after those that go on with literal
/// text, and below a parameter before all that go on. Where all that is equal, plain text order decides.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    steps(left).cmp(&steps(right)).then_with(|| left.cmp(right))
}

/// A key that sorts as [`compare`] does, for long lists.
pub(crate) fn key(path: &str) -> (Vec<Step>, String) {
    (steps(path), path.to_owned())
}

/// One segment of a path template, or its end; what is tried first is least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Nothing follows, and a parameter precedes.
    EndBelowParameter,
    Literal,
    /// Literal text and parameters: length of the text, number of parameters, text before the first and after the last of them.
    Mixed(Reverse<[usize; 4]>),
    /// Nothing follows, and all is literal.
    End,
    /// That many parameters: two match two characters or more.
    Parameters(Reverse<usize>),
    Wildcard,
}

/// The steps of a path. The two ends don't meet: paths whose steps are equal up to here agree in what precedes as well.
fn steps(path: &str) -> Vec<Step> {
    let shape = normal::shape(path);
    let mut steps: Vec<Step> = shape.split('/').skip(1).map(Step::of).collect();
    if steps.iter().all(|step| *step == Step::Literal) {
        steps.push(Step::End);
    } else if steps.last() != Some(&Step::Wildcard) {
        steps.push(Step::EndBelowParameter);
    }
    steps
}

impl Step {
    fn of(segment: &str) -> Self {
        if segment == WILDCARD {
            return Self::Wildcard;
        }
        let texts: Vec<usize> = segment.split(PARAMETER).map(str::len).collect();
        let (leading, trailing) = match texts.as_slice() {
            [] | [_] => return Self::Literal,
            [leading, .., trailing] => (*leading, *trailing),
        };
        let parameters = texts.len() - 1;
        match texts.iter().sum() {
            0 => Self::Parameters(Reverse(parameters)),
            text => Self::Mixed(Reverse([text, parameters, leading, trailing])),
        }
    }
}

#[cfg(test)]
mod tests;
