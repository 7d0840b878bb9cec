//! All machines of this server, each with the people at it: a [`Room`] per machine, found by name.
//!
//! The rest of the server reaches machines' terminals, people and states only through here. Knows
//! neither HTTP nor who may come in; a page that arrives here has its [`Grant`].
