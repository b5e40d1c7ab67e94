//! The process environment, captured once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Environment variables as values. [`Env::from_process`] is the only place where the real environment is read; tests
/// make theirs with [`Env::from_iter`](FromIterator::from_iter).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env(Arc<BTreeMap<String, String>>);

/// A text after substitution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The text; references to unset variables stay as written.
    pub text: String,
    /// Variables that are set to nothing, in order of appearance.
    pub empty: Vec<String>,
    /// Variables that are not set, in order of appearance.
    pub unset: Vec<String>,
}

impl Env {
    /// Captures the environment of the process. Variables whose name or value is not UTF-8 are left out.
    pub fn from_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The same with one variable set.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        Arc::make_mut(&mut self.0).insert(name.to_owned(), value.to_owned());
        self
    }

    /// The variable, unless it is unset or empty: the original takes an empty variable as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Every variable, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Replaces every `$env{NAME}` in `text`. The value is put in literally and is not searched again; an unset
    /// variable leaves its reference as written, one that is set to nothing leaves nothing.
    pub fn expand(&self, text: &str) -> Expanded {
        const OPEN: &str = "$env{";
        let mut expanded = Expanded {
            text: String::with_capacity(text.len()),
            empty: Vec::new(),
            unset: Vec::new(),
        };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            expanded.text.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                expanded.text.push_str(OPEN);
                rest = after;
                continue;
            };
            match self.0.get(name) {
                Some(value) => {
                    expanded.text.push_str(value);
                    if value.is_empty() {
                        expanded.empty.push(name.to_owned());
                    }
                }
                None => {
                    expanded.text.push_str(OPEN);
                    expanded.text.push_str(name);
                    expanded.text.push('}');
                    expanded.unset.push(name.to_owned());
                }
            }
            rest = after;
        }
        expanded.text.push_str(rest);
        expanded
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(Arc::new(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        ))
    }
}

impl fmt::Debug for Env {
    /// Names only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion() {
        let env = Env::from_iter([
            ("a", "1"),
            ("b", "$env{a}"),
            ("none_of_it", ""),
            ("d", "x$0${1}\\"),
        ]);
        let cases = [
            ("", "", &[][..]),
            ("plain {text} $a", "plain {text} $a", &[]),
            ("$env{a}", "1", &[]),
            ("<$env{a}|$env{a}>", "<1|1>", &[]),
            ("$env{b}", "$env{a}", &[]),
            ("[$env{none_of_it}]", "[]", &[]),
            ("$env{d}", "x$0${1}\\", &[]),
            ("$env{zz}-$env{a}", "$env{zz}-1", &["zz"]),
            ("$env{a", "$env{a", &[]),
            ("$env{}", "$env{}", &[""]),
            ("é$env{a}é", "é1é", &[]),
        ];
        for (text, want, unset) in cases {
            let got = env.expand(text);
            assert_eq!(
                (got.text.as_str(), &got.unset[..]),
                (want, &unset.iter().map(|n| n.to_string()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn empty_is_unset_and_values_are_not_printed() {
        let env = Env::from_iter([("a", ""), ("b", "secret")]);
        assert_eq!(
            (env.get("a"), env.get("b"), env.get("c")),
            (None, Some("secret"), None)
        );
        assert_eq!(format!("{env:?}"), r#"{"a", "b"}"#);
    }
}
