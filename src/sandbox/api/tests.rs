//! Requests to the API as clients send them, and what they get.

mod discovering;
mod objects;
mod pods;
mod rig;
mod serving;
mod watching;
