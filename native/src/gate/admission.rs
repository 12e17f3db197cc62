//! Decides about clients that are new: draining, tokens, Retry, limits, rates. Nothing is kept of a client here but, of one that came
//! back with a token, that the token was used.

use super::{Case, Newcomer, Verdict, answer};
use crate::address::limit_key;
use crate::counters::Dropped;
use crate::ids::{CID_LENGTH, CidCodec, NO_SLOT, Random};
use crate::limits::{PrefixBuckets, PrefixCounts, TokenBucket};
use crate::options::{Key, Limits, ListenOptions, RetryMode};
use crate::packet::LongHeader;
use crate::packet::answers::{CONNECTION_REFUSED, INVALID_TOKEN, RetryWriter, initial_close};
use crate::tokens::{TokenKeys, TokenVerdict, UsedTokens};
use std::net::SocketAddr;
use std::time::Instant;

/// Handshakes begun per turn: each costs as much as a hundred packets of those who are already here.
const PER_TURN: u32 = 32;
/// Of a turn that could not read all that had come: those who are already here may be behind the next newcomer in the socket.
const PER_TURN_BEHIND: u32 = 4;
const RETRIES_PER_SECOND: f64 = 20_000.0;
const REFUSALS_PER_SECOND: f64 = 1_000.0;
/// Of those who have waited too long: so many find out at once, the others after their own time.
const TURNED_AWAY_PER_SECOND: f64 = 5_000.0;
/// A prefix may take this share of all handshakes, and never less than the least.
const PREFIX_SHARE: f64 = 0.25;
const PREFIX_LEAST: f64 = 64.0;
/// What comes to nothing may use up this share of all handshakes.
const FAILURE_SHARE: f64 = 0.25;

pub struct Admission {
    draining: bool,
    leaving: bool,
    begun: u32,
    allowed: u32,
    /// Whoever is judged now has waited too long.
    late: bool,
    mode: RetryMode,
    limits: Limits,
    tokens: TokenKeys,
    used: UsedTokens,
    retry: RetryWriter,
    rate: TokenBucket,
    /// Handshakes that may come to nothing before addresses are validated first: forged or broken ones are half-open at no time.
    failures: TokenBucket,
    /// Those that came to nothing since the last newcomer.
    failed: u32,
    prefixes: PrefixBuckets,
    /// Whoever has a token passes the share of its prefix.
    recent: PrefixCounts,
    retries: TokenBucket,
    refusals: TokenBucket,
    turned_away: TokenBucket,
}

/// What a token said.
enum Proof {
    /// No token of ours.
    None,
    /// The client's first id.
    Good(Vec<u8>),
    Bad(Verdict),
}

impl Admission {
    pub fn new(o: &ListenOptions, now: Instant) -> Result<Self, String> {
        let bucket = |rate: f64, burst: f64| TokenBucket::new(rate, burst, now);
        let rate = f64::from(o.limits.handshakes_per_second);
        Ok(Admission {
            draining: false,
            leaving: false,
            begun: 0,
            allowed: PER_TURN,
            late: false,
            mode: o.retry,
            limits: o.limits.clone(),
            tokens: TokenKeys::new(&o.token_keys)?,
            used: UsedTokens::new(now),
            retry: RetryWriter::new().map_err(|e| e.to_string())?,
            rate: bucket(rate, rate),
            failures: bucket(rate * FAILURE_SHARE, 1.0_f64.max(rate * FAILURE_SHARE)),
            failed: 0,
            prefixes: PrefixBuckets::new(prefix_rate(rate), prefix_rate(rate), now),
            recent: PrefixCounts::default(),
            retries: bucket(RETRIES_PER_SECOND, RETRIES_PER_SECOND / 4.0),
            refusals: bucket(REFUSALS_PER_SECOND, REFUSALS_PER_SECOND / 4.0),
            turned_away: bucket(TURNED_AWAY_PER_SECOND, TURNED_AWAY_PER_SECOND / 4.0),
        })
    }

    pub fn set_limits(&mut self, l: &Limits) {
        let rate = f64::from(l.handshakes_per_second);
        self.limits = l.clone();
        self.rate.set(rate, rate);
        self.failures.set(rate * FAILURE_SHARE, 1.0_f64.max(rate * FAILURE_SHARE));
        self.prefixes.set(prefix_rate(rate), prefix_rate(rate));
    }

    pub fn set_retry(&mut self, m: RetryMode) {
        self.mode = m;
    }

    pub fn set_token_keys(&mut self, keys: &[Key]) -> Result<(), String> {
        self.tokens = TokenKeys::new(keys)?;
        Ok(())
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }

    pub fn set_leaving(&mut self, leaving: bool) {
        self.leaving = leaving;
    }

    pub fn start_turn(&mut self) {
        self.begun = 0;
    }

    /// Whether there is more to read than a turn reads.
    pub fn set_behind(&mut self, behind: bool) {
        self.allowed = if behind { PER_TURN_BEHIND } else { PER_TURN };
    }

    pub fn set_late(&mut self, late: bool) {
        self.late = late;
    }

    /// A handshake that was begun came to nothing.
    pub fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    pub fn is_full(&self) -> bool {
        self.begun >= self.allowed
    }

    /// It had many of the last handshakes: where there is not enough for all, others go first.
    pub fn has_many(&self, from: &SocketAddr) -> bool {
        self.recent.has_many(from)
    }

    /// An Initial that belongs to no connection. What waits has left no trace yet: its token is not used up.
    pub fn consider(&mut self, h: &LongHeader<'_>, mut c: Case<'_>, codec: &mut CidCodec, random: &mut Random) -> Verdict {
        if self.draining || self.leaving {
            c.counters.dropped.draining += 1;
            c.counters.handshakes.refused_draining += 1;
            return self.close(h, &mut c, CONNECTION_REFUSED);
        }
        if self.late {
            c.counters.dropped.batch += 1;
            c.counters.handshakes.refused_limit += 1;
            return refuse(&mut self.turned_away, h, &mut c, CONNECTION_REFUSED);
        }
        if self.is_full() {
            return Verdict::Wait;
        }
        // Before a token is used up or a Retry is sealed: whoever hears nothing asks again, with the same token, and costs nothing until then.
        // The last half is for those who have had little: one that takes whatever there is still has all that others leave.
        if !self.rate.ready(c.now) || (self.rate.is_low(c.now) && self.has_many(&c.from)) {
            c.counters.dropped.handshake_rate += 1;
            return Verdict::Drop;
        }
        let odcid = match self.proof(h, &mut c) {
            Proof::Bad(verdict) => return verdict,
            Proof::Good(odcid) => Some(odcid),
            Proof::None => {
                if let Some(verdict) = self.without_proof(h, &mut c, codec, random) {
                    return verdict;
                }
                None
            }
        };
        if let Some(limit) = self.limit(&c) {
            *limit(&mut c.counters.dropped) += 1;
            c.counters.handshakes.refused_limit += 1;
            return self.close(h, &mut c, CONNECTION_REFUSED);
        }
        self.rate.take(c.now);
        self.recent.add(&c.from, odcid.is_some());
        self.begun += 1;
        Verdict::Begin(Newcomer { dcid: h.dcid.to_vec(), scid: h.scid.to_vec(), odcid })
    }

    fn proof(&mut self, h: &LongHeader<'_>, c: &mut Case<'_>) -> Proof {
        if h.token.is_empty() {
            return Proof::None;
        }
        let verdict = self.tokens.open(h.token, &c.from, h.dcid, c.wall_ms);
        let dropped = &mut c.counters.dropped;
        match verdict {
            TokenVerdict::None => return Proof::None,
            TokenVerdict::Valid(odcid) if h.dcid.len() == CID_LENGTH && self.used.claim(h.token, c.now) => return Proof::Good(odcid),
            TokenVerdict::Valid(_) | TokenVerdict::Invalid => dropped.token += 1,
            TokenVerdict::Expired => dropped.token_expired += 1,
        }
        Proof::Bad(self.close(h, c, INVALID_TOKEN))
    }

    /// Without a token: None when a handshake may begin at once.
    fn without_proof(&mut self, h: &LongHeader<'_>, c: &mut Case<'_>, codec: &mut CidCodec, random: &mut Random) -> Option<Verdict> {
        let loaded = self.mode == RetryMode::Load && self.is_loaded(c);
        if self.mode == RetryMode::Always || loaded {
            return Some(self.ask_back(h, c, codec, random));
        }
        if self.prefixes.take(&c.from, c.now) {
            return None;
        }
        if self.mode == RetryMode::Load {
            return Some(self.ask_back(h, c, codec, random));
        }
        c.counters.dropped.handshake_rate += 1;
        Some(Verdict::Drop)
    }

    /// Whether those who begin may be none who were ever there: the rate is for others.
    fn is_loaded(&mut self, c: &Case<'_>) -> bool {
        while self.failed > 0 && self.failures.take(c.now) {
            self.failed -= 1;
        }
        self.failed = 0;
        c.population.handshaking() >= self.limits.retry_above || !self.failures.ready(c.now)
    }

    /// The counter of the limit that is reached.
    fn limit(&self, c: &Case<'_>) -> Option<fn(&mut Dropped) -> &mut u64> {
        if c.population.live() >= self.limits.connections {
            return Some(|d| &mut d.connections);
        }
        if c.population.of_address(&limit_key(&c.from)) >= self.limits.per_address {
            return Some(|d| &mut d.address_limit);
        }
        if c.population.handshaking() >= self.limits.half_open {
            return Some(|d| &mut d.half_open);
        }
        None
    }

    fn close(&mut self, h: &LongHeader<'_>, c: &mut Case<'_>, code: u64) -> Verdict {
        refuse(&mut self.refusals, h, c, code)
    }

    fn ask_back(&mut self, h: &LongHeader<'_>, c: &mut Case<'_>, codec: &mut CidCodec, random: &mut Random) -> Verdict {
        if !self.retries.take(c.now) {
            c.counters.dropped.handshake_rate += 1;
            return Verdict::Drop;
        }
        let id = codec.encode(NO_SLOT, 0, 0);
        let token = self.tokens.seal(&c.from, &id, h.dcid, c.wall_ms, random);
        let written = token.and_then(|t| self.retry.write(h.dcid, h.scid, &id, &t, c.out));
        answer(written, &mut c.counters.answered.retry)
    }
}

fn refuse(bucket: &mut TokenBucket, h: &LongHeader<'_>, c: &mut Case<'_>, code: u64) -> Verdict {
    if !bucket.take(c.now) {
        return Verdict::Drop;
    }
    answer(initial_close(h.dcid, h.scid, code, c.out), &mut c.counters.answered.refused)
}

fn prefix_rate(handshakes: f64) -> f64 {
    PREFIX_LEAST.max(handshakes * PREFIX_SHARE)
}
