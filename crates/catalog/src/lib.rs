//! What a server knows beside its machines: what people call them, links, sessions, what was said,
//! and who did what.
//!
//! [`Catalog`] is the one interface to it; [`SqliteCatalog`] keeps it in one file. Owns rows and
//! their limits, not their meaning: who may do what is the server's, machines are the host's. Every
//! row has an owner, although there is only one so far.

mod catalog;
pub mod ids;
pub mod rows;
mod sqlite;

pub use catalog::{Catalog, CatalogError};
pub use sqlite::SqliteCatalog;
