//! Rooms: machines and the people at them.

pub mod api {
    pub mod types;
}
mod grant;
pub mod protocol;
pub mod rights;
mod rooms;
mod viewer;
