//! Addresses and referrers that a key is bound to.

use std::net::IpAddr;

/// An address or a network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    Of {
        address: IpAddr,
        prefix: u8,
    },
    /// What can't be read holds no address.
    Nothing,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Self {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let Ok(address) = address.parse::<IpAddr>().map(|address| address.to_canonical()) else {
            return Self::Nothing;
        };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match prefix.map_or(Ok(longest), str::parse::<u8>) {
            Ok(prefix) if prefix <= longest => Self::Of { address, prefix },
            _ => Self::Nothing,
        }
    }

    pub(crate) fn contains(&self, candidate: IpAddr) -> bool {
        let Self::Of { address, prefix } = *self else {
            return false;
        };
        match (address, candidate.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(candidate)) => {
                let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                (network.to_bits() ^ candidate.to_bits()) & !host == 0
            }
            (IpAddr::V6(network), IpAddr::V6(candidate)) => {
                let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                (network.to_bits() ^ candidate.to_bits()) & !host == 0
            }
            _ => false,
        }
    }
}

/// A text in which `*` stands for anything without a space. Nothing else has a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn size(&self) -> usize {
        24 + self.0.iter().map(|part| part.len() + 40).sum::<usize>()
    }

    /// Whether the whole text matches, in time linear in its length times the number of stars.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return text == first;
        };
        let Some(mut text) = text
            .strip_prefix(first.as_str())
            .and_then(|text| text.strip_suffix(last.as_str()))
        else {
            return false;
        };
        for part in middle {
            let Some((gap, after)) = text.split_once(part.as_str()) else {
                return false;
            };
            if gap.contains(' ') {
                return false;
            }
            text = after;
        }
        !text.contains(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_they_say() {
        let cases = [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("", "10.0.0.0", false),
        ];
        for (network, address, held) in cases {
            let address = address.parse().unwrap();
            assert_eq!(
                Network::parse(network).contains(address),
                held,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn patterns_know_stars_and_nothing_else() {
        let cases = [
            ("www.abc.com", "www.abc.com", true),
            ("www.abc.com", "wwwxabc.com", false),
            ("*.abc.com/*", "www.abc.com/path", true),
            ("*.abc.com/*", "abc.com/path", false),
            ("*", "anything", true),
            ("*", "two words", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a c", false),
            ("a*a", "a", false),
            ("(a+)+", "aaaa", false),
            ("", "x", false),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(Pattern::parse(pattern).matches(text), matches, "{pattern} {text}");
        }
    }
}
