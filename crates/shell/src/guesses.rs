//! How many wrong passwords an address may still give: those who guess are slowed down, and nobody else is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong passwords that an address may give one after the other: more than anybody mistypes.
const BURST: u32 = 10;
/// Time that takes one of them back. A limit of ten a minute leaves a guesser 14,400 a day.
const PACE: Duration = Duration::from_secs(6);
/// Addresses that are remembered, some 50 bytes each.
const MAX_ADDRESSES: usize = 4_096;

/// What each address has guessed. One that hasn't, or not for a minute, takes no room.
#[derive(Debug)]
pub struct Guesses {
    debts: Mutex<HashMap<IpAddr, Debt>>,
    tell: fn(IpAddr),
}

/// What an address has to wait for.
#[derive(Debug)]
struct Debt {
    /// When all of its wrong passwords are forgotten.
    paid: Instant,
    /// It is in the log.
    told: bool,
}

impl Guesses {
    /// Nobody has guessed yet. `tell` is called with an address that is slowed down, once until it has stopped for a while.
    #[must_use]
    pub fn new(tell: fn(IpAddr)) -> Self {
        Self {
            debts: Mutex::default(),
            tell,
        }
    }

    /// How long `peer` has to wait until it may try a password; zero for who may.
    #[must_use]
    pub fn wait(&self, peer: IpAddr) -> Duration {
        let debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        owed(&debts, place(peer), Instant::now()).saturating_sub(PACE * (BURST - 1))
    }

    /// Lets `peer` try a password: whether it is `right`, which is only asked while the address may guess. A right one costs
    /// nothing. Attempts are made one at a time, so that many at once are no more than one after the other.
    ///
    /// # Errors
    /// The time until the address may try again. Not even the right password is taken before, for it would tell.
    pub fn attempt(&self, peer: IpAddr, right: impl FnOnce() -> bool) -> Result<bool, Duration> {
        let (place, now) = (place(peer), Instant::now());
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = owed(&debts, place, now);
        let wait = owed.saturating_sub(PACE * (BURST - 1));
        if !wait.is_zero() {
            return Err(wait);
        }
        if right() {
            return Ok(true);
        }
        if !debts.contains_key(&place) {
            make_room(&mut debts, now);
        }
        let debt = debts.entry(place).or_insert(Debt {
            paid: now,
            told: false,
        });
        debt.told &= !owed.is_zero();
        debt.paid = now + owed + PACE;
        if owed + PACE >= PACE * BURST && !debt.told {
            debt.told = true;
            (self.tell)(place);
        }
        Ok(false)
    }
}

fn owed(debts: &HashMap<IpAddr, Debt>, place: IpAddr, now: Instant) -> Duration {
    debts
        .get(&place)
        .map_or(Duration::ZERO, |debt| debt.paid.saturating_duration_since(now))
}

/// Who is counted as one: an address of IPv4, however it is written, or what one site has of IPv6 (RFC 4291 2.5.1: the second half
/// names an interface, and whoever has one has all of them).
fn place(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Leaves room for one more: what is paid goes, else who owes the least.
fn make_room(debts: &mut HashMap<IpAddr, Debt>, now: Instant) {
    if debts.len() < MAX_ADDRESSES {
        return;
    }
    debts.retain(|_, debt| debt.paid > now);
    if debts.len() < MAX_ADDRESSES {
        return;
    }
    let least = debts.iter().min_by_key(|(_, debt)| debt.paid);
    if let Some(place) = least.map(|(place, _)| *place) {
        debts.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_one_at_a_time() {
        let guesses = Guesses::new(|_| ());
        let peer = address(1);
        let wrong = || guesses.attempt(peer, || false);
        for number in 0..BURST {
            assert_eq!(guesses.attempt(peer, || true), Ok(true), "right before {number}");
            assert_eq!(wrong(), Ok(false), "{number}");
        }
        let asked = || -> bool { panic!("not looked at") };
        assert_eq!(guesses.attempt(peer, asked), Err(PACE));
        assert_eq!(guesses.wait(peer), PACE);
        assert_eq!(guesses.wait(address(2)), Duration::ZERO);
        assert_eq!(guesses.attempt(address(2), || true), Ok(true), "somebody else");
        tokio::time::advance(PACE / 2).await;
        assert_eq!(wrong(), Err(PACE / 2), "what isn't looked at costs nothing");
        tokio::time::advance(PACE / 2).await;
        assert_eq!(wrong(), Ok(false));
        assert_eq!(wrong(), Err(PACE));
        tokio::time::advance(PACE * BURST).await;
        for _ in 0..BURST {
            assert_eq!(wrong(), Ok(false), "forgotten after a while");
        }
        assert_eq!(wrong(), Err(PACE));
    }

    #[test]
    fn who_is_counted_as_one() {
        let cases = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ];
        for (peer, want) in cases {
            assert_eq!(place(peer.parse().unwrap()).to_string(), want, "{peer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_addresses_are_remembered() {
        let guesses = Guesses::new(|_| ());
        let wrong = |peer| guesses.attempt(peer, || false);
        let held = || guesses.debts.lock().unwrap().len();
        let busy = address(0);
        for _ in 0..BURST {
            assert_eq!(wrong(busy), Ok(false));
        }
        for number in 1..=10_000 {
            assert_eq!(wrong(address(number)), Ok(false), "{number}");
        }
        assert_eq!(held(), MAX_ADDRESSES);
        assert!(wrong(busy).is_err(), "who owes the most is remembered longest");
        tokio::time::advance(PACE * BURST).await;
        assert_eq!(wrong(address(0xffff_ffff)), Ok(false));
        assert_eq!(held(), 1, "the others have paid");
    }
}
