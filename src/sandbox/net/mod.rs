//! The network between nodes as kube-proxy makes it: where each node sends new connections to Services, and when it
//! comes to know.
//!
//! * [`tables`]: a table per node, asked for a route per connection.
//! * [`snapshot`]: Services with their endpoints, as tables hold them.
//! * [`timing`]: when a node's table follows a change.
//! * [`link`]: delay and loss between places.
//! * [`relay`]: real listening sockets for clients that know nothing of tables.
//!
//! A route is picked once per connection and never again: whoever dials it gets the operating system's own errors, and
//! an established connection stays where it is, whatever becomes of the endpoint.

mod link;
pub mod relay;
mod snapshot;
pub mod tables;
mod timing;

pub use link::Link;
pub use tables::{Options, Route, ServiceTables};
