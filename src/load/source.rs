//! Where connections come from: no address and port twice while something on the way may remember the first use.
//!
//! Every machine that translates addresses on the way (kube-proxy's rules on a node, a container engine's published
//! port on this machine) tracks connections, and remembers one that was lost for minutes. A new connection with the
//! same four numbers falls into what is remembered of the old one: it is sent to a pod that is gone, or its packets
//! are found out of order, are not translated any more, and the connection is reset by a machine that never saw the
//! service. Both look exactly like a loss of the service's. The system's own choice does not avoid that: it comes back
//! to a port after some 3,000 connections on average, and on loopback already a second after it was closed.
//!
//! So ports are taken here, in order, all of them before one is taken again, and one from which a connection was lost
//! rests. They are not those that the system gives to whoever asks for none in particular: it gives nobody a port that
//! somebody else has chosen, whatever the address, nor for the 60 s of `TIME_WAIT` after it was closed, so a few
//! hundred connections a second would leave none for anybody else on this machine. Towards loopback, where every
//! address of 127.0.0.0/8 is ours, the source address changes as well: between runs, and with each round through the
//! ports.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::io::Errno;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::Instant,
};

/// How long Linux remembers a connection that ended in any other way than by the book, at most:
/// `nf_conntrack_tcp_timeout_max_retrans` and `nf_conntrack_tcp_timeout_unacknowledged`, both 300 s. An attempt without
/// an answer is remembered for 120 s (`nf_conntrack_tcp_timeout_syn_sent`).
const REST: Duration = Duration::from_secs(300);

/// A loopback address serves at least so long, however fast its ports are used up. A published port translates all of
/// them to one address, where each connection keeps one of 64,512 ports for the 120 s of
/// `nf_conntrack_tcp_timeout_time_wait`: enough for all ports of two loopback addresses, not of three.
const LOOPBACK_SERVES: Duration = Duration::from_secs(120);

/// Loopback addresses that are used: all but 127.0.0.0/16, which has addresses that others listen on, and
/// 127.255.0.0/16, which has the broadcast address.
const LOOPBACK_ADDRESSES: u128 = 254 << 16;

/// Ports in a row that may be in use before that is the answer.
const TRIES: usize = 64;

/// Ports that nobody has for long: above what services listen on by custom, and below those of `NodePorts` (30000) and,
/// by default, those that Linux gives out (32768).
const QUIET: RangeInclusive<u16> = 10_000..=29_999;

/// Where the system says which ports it gives out.
const PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The sources of all connections of a generator.
#[derive(Debug)]
pub(super) struct Sources {
    // Nothing where the system does not say which ports are for this; then it chooses.
    ports: Option<RangeInclusive<u16>>,
    loopback: RefCell<Loopback>,
    elsewhere: RefCell<Turns>,
}

/// A source address and port in use. When it is dropped the port rests, unless its connection ended well.
#[derive(Debug)]
pub(super) struct Source {
    of: Rc<Sources>,
    from: SocketAddr,
    ended_well: bool,
}

impl Sources {
    /// Sources on this machine.
    pub(super) fn new() -> Rc<Self> {
        Self::with_ports(std::fs::read_to_string(PORTS_FILE).ok().as_deref().and_then(range).map(|given| ours(&given)))
    }

    fn with_ports(ports: Option<RangeInclusive<u16>>) -> Rc<Self> {
        let (now, clock) = (Instant::now(), since_1970());
        let turns = || Turns::new(ports.clone().unwrap_or(1..=1), clock);
        let loopback = Loopback { address: loopback_address(clock), since: now, turns: turns() };
        let elsewhere = turns();
        Rc::new(Self { ports, loopback: RefCell::new(loopback), elsewhere: RefCell::new(elsewhere) })
    }

    /// Connects to `address` from the next source, which is in use as long as it is kept, and while this goes on.
    pub(super) async fn connect(self: &Rc<Self>, address: SocketAddr) -> io::Result<(TcpStream, Option<Source>)> {
        let mut tries = 0;
        loop {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Nagle's algorithm would hold a request back for the acknowledgement of the one before.
            socket.set_nodelay(true)?;
            let Some(mut source) = self.next(address.ip()) else {
                return Ok((socket.connect(address).await?, None));
            };
            // What is in TIME_WAIT at the port, perhaps towards another address, is for connect to judge.
            socket.set_reuseaddr(true)?;
            let connected = match socket.bind(source.from) {
                Ok(()) => socket.connect(address).await,
                Err(error) => Err(error),
            };
            tries += 1;
            match connected {
                Ok(stream) => return Ok((stream, Some(source))),
                Err(error) => {
                    let in_use = is_in_use(&error);
                    // Nothing was sent from it, so there is nothing to forget.
                    source.ended_well = in_use;
                    if !in_use || tries == TRIES {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn next(self: &Rc<Self>, destination: IpAddr) -> Option<Source> {
        self.ports.as_ref()?;
        let now = Instant::now();
        let from = match destination {
            IpAddr::V4(address) if address.is_loopback() && cfg!(target_os = "linux") => {
                let (address, port) = self.loopback.borrow_mut().next(now, since_1970());
                SocketAddr::from((address, port))
            }
            IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.elsewhere.borrow_mut().next(now).port)),
            IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.elsewhere.borrow_mut().next(now).port)),
        };
        Some(Source { of: Rc::clone(self), from, ended_well: false })
    }

    /// How many ports rest.
    #[cfg(test)]
    pub(super) fn resting(&self) -> usize {
        self.loopback.borrow().turns.resting() + self.elsewhere.borrow().resting()
    }

    fn rest(&self, from: SocketAddr) {
        let until = Instant::now() + REST;
        if from.ip().is_unspecified() {
            self.elsewhere.borrow_mut().rest(from.port(), until);
        } else {
            let mut loopback = self.loopback.borrow_mut();
            // An address that was left does not come again.
            if from.ip() == loopback.address {
                loopback.turns.rest(from.port(), until);
            }
        }
    }
}

impl Source {
    /// Its connection has ended as both sides wanted: what remembers it lets go of it as soon as its port comes again.
    pub(super) fn ended_well(&mut self) {
        self.ended_well = true;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if !self.ended_well {
            self.of.rest(self.from);
        }
    }
}

/// The ports of one address, each in its turn.
#[derive(Debug)]
struct Turns {
    ports: RangeInclusive<u16>,
    next: usize,
    // Turns since the beginning.
    taken: usize,
    rests_until: Vec<Option<Instant>>,
}

/// A port whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    port: u16,
    /// Whether all others rest, and so should this one.
    tired: bool,
}

impl Turns {
    /// The turns of these ports, beginning anywhere: at what the clock says.
    fn new(ports: RangeInclusive<u16>, clock: Duration) -> Self {
        let next = clock.subsec_nanos() as usize % ports.len().max(1);
        Self { rests_until: vec![None; ports.len()], ports, next, taken: 0 }
    }

    fn next(&mut self, now: Instant) -> Turn {
        let count = self.rests_until.len();
        let rested = |turn: &usize| self.rests_until[turn % count].is_none_or(|until| until <= now);
        let found = (self.next..self.next + count).find(rested);
        let turn = found.unwrap_or(self.next);
        self.taken += turn + 1 - self.next;
        self.next = (turn + 1) % count;
        // A turn is within the range, whose bounds are of this type.
        let port = self.ports.start().saturating_add(u16::try_from(turn % count).unwrap_or_default());
        Turn { port, tired: found.is_none() }
    }

    fn rest(&mut self, port: u16, until: Instant) {
        if let Some(rests) = self.rests_until.get_mut(usize::from(port - self.ports.start())) {
            *rests = Some(until);
        }
    }

    #[cfg(test)]
    fn resting(&self) -> usize {
        self.rests_until.iter().flatten().count()
    }

    /// Whether each port has had its turn.
    fn all_taken(&self) -> bool {
        self.taken >= self.rests_until.len()
    }
}

/// The loopback address that connections come from now.
#[derive(Debug)]
struct Loopback {
    address: Ipv4Addr,
    since: Instant,
    turns: Turns,
}

impl Loopback {
    fn next(&mut self, now: Instant, clock: Duration) -> (Ipv4Addr, u16) {
        if self.turns.all_taken() && now.saturating_duration_since(self.since) >= LOOPBACK_SERVES {
            self.change(now, clock);
        }
        let mut turn = self.turns.next(now);
        if turn.tired {
            self.change(now, clock);
            turn = self.turns.next(now);
        }
        (self.address, turn.port)
    }

    fn change(&mut self, now: Instant, clock: Duration) {
        *self =
            Self { address: loopback_address(clock), since: now, turns: Turns::new(self.turns.ports.clone(), clock) };
    }
}

/// The loopback address of a moment: another one for each millisecond of four and a half hours, so that runs on this
/// machine need not know of each other to keep apart.
fn loopback_address(clock: Duration) -> Ipv4Addr {
    let nth = clock.as_millis() % LOOPBACK_ADDRESSES;
    let [.., second, third, fourth] = (nth + (1 << 16)).to_be_bytes();
    Ipv4Addr::new(127, second, third, fourth)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The ports that are taken where the system gives out these to others: quiet ones, or the upper half of its own where it
/// gives those out too.
fn ours(given: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    if given.start() > QUIET.end() || given.end() < QUIET.start() {
        QUIET
    } else {
        given.start().midpoint(*given.end())..=*given.end()
    }
}

/// The ports in "32768\t60999".
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut bounds = text.split_whitespace().map(str::parse);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

fn is_in_use(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests;
