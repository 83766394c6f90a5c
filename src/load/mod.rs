//! The load core: open-loop lanes of HTTP requests, timed from their intended send time, each outcome kept apart.
//!
//! * [`lane`]: what is to be sent where.
//! * [`message`]: what the generator says while it runs.
//! * [`generator`]: the generator on its own thread: [`start`], begin, stop.
//! * [`schedule`]: when each request is due, pure.
//! * `pacer`, `timer`, `deadline`: sends what is due and ends what is over, to the microsecond.
//! * `client`: one lane at work: its connections, its requests, and the account of each.
//! * [`rates`]: how a rate goes over time, pure.
//! * `connection`, `wire`, `tls`, `pool`: connections that count their bytes, and the idle ones.
//! * [`share`]: the part of a lane that one of several generators sends, pure.
//! * `source`: the address and port that each connection comes from.
//! * `exchange`, `answer`: one request and what came of it; `http1` (reading is pure), `http2`, `websocket`, `lines`: as
//!   each is spoken; `call`: a gRPC message with its number; `body`: what an answer is held against.
//! * `classify`: what became of a request, from the evidence, pure.
//! * `ledger`: the intervals that are still open, pure.
//! * `machine`: what the machine under the generator does to it.
//! * `voice`: what the lanes say, each kind of taint once.

mod answer;
mod body;
mod call;
mod classify;
mod client;
mod connection;
mod deadline;
mod exchange;
pub mod generator;
mod http1;
mod http2;
pub mod lane;
mod ledger;
mod lines;
mod machine;
pub mod message;
mod pacer;
mod pool;
pub mod rates;
pub mod schedule;
pub mod share;
mod source;
mod timer;
mod tls;
mod voice;
mod websocket;
mod wire;

#[cfg(test)]
mod tests;

pub use generator::{LaneTotals, LoadError, LoadTotals, Renewer, Running, start, start_at};
