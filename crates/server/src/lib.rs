//! Rooms: machines and the people at them.

mod api {
    pub(crate) mod types;
}
mod grant;
pub mod protocol;
mod rights;
mod rooms;
mod viewer;
